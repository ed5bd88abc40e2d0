// Opens and closes the chat of the front page. It is open at first; the chat is unloaded when it is closed, so that a
// closed pop-up polls nothing.
(function () {
  'use strict';

  var popup = document.getElementById('chat-popup');
  var frame = document.getElementById('chat-frame');
  var opener = document.getElementById('chat-open');
  var closer = document.getElementById('chat-close');
  var title = document.getElementById('chat-title');

  function open() {
    if (popup.hidden) {
      frame.src = frame.dataset.src;
      popup.hidden = false;
      opener.setAttribute('aria-expanded', 'true');
    }
  }

  function close() {
    popup.hidden = true;
    frame.removeAttribute('src');
    opener.setAttribute('aria-expanded', 'false');
    opener.focus();
  }

  opener.addEventListener('click', function () { open(); closer.focus(); });
  closer.addEventListener('click', close);
  document.addEventListener('keydown', function (event) {
    if (event.key === 'Escape' && !popup.hidden) {
      close();
    }
  });
  window.addEventListener('message', function (event) {
    var fromChat = event.source === frame.contentWindow && event.data;
    if (fromChat && typeof event.data.title === 'string' && event.data.title) {
      title.textContent = event.data.title;
    }
  });

  open();
})();
