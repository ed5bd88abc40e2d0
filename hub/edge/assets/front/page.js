// What the page knows of its forum, as AtomJump's scripts look for it: in global variables. The page itself holds them as
// data, because its policy runs no script that stands in a page. Served in front of chat.js, in the same file.
(function () {
  'use strict';

  var variables = document.getElementById('page-variables');
  if (!variables) {
    return;
  }
  variables = JSON.parse(variables.textContent);
  Object.keys(variables).forEach(function (name) { window[name] = variables[name]; });
  if (window.parent !== window) {
    // To whichever site shows the pop-up: it learns the forum's title, which it may as well read.
    window.parent.postMessage({ title: variables.var_title }, '*');
  }
})();
