// Makes a message's markup safe to show. Served in front of chat.js, in the same file.
//
// Messages come as markup made by some peer. Only known elements, without their handlers, get into the page; the
// handler AtomJump puts on an author's name is read, not run.
(function () {
  'use strict';

  var ALLOWED = { A: 1, B: 1, BR: 1, EM: 1, I: 1, IMG: 1, SPAN: 1, STRONG: 1 };
  var WHISPER_CALL = /^\s*whisper\(\s*("(?:[^"\\]|\\.)*")\s*,\s*("(?:[^"\\]|\\.)*")/;

  function unquoted(literal) {
    try {
      return JSON.parse(literal.replace(/\\x([0-9a-fA-F]{2})/g, '\\u00$1').replace(/\\'/g, "'"));
    } catch (error) {
      return null;
    }
  }

  function webAddress(value) {
    try {
      var url = new URL(value, document.baseURI);
      return url.protocol === 'http:' || url.protocol === 'https:' ? url.href : null;
    } catch (error) {
      return null;
    }
  }

  function cleanLink(from) {
    var link = document.createElement('a');
    var call = WHISPER_CALL.exec(from.getAttribute('data-onclick') || from.getAttribute('onclick') || '');
    var address = call && unquoted(call[1]);
    var name = call && unquoted(call[2]);
    if (address !== null && name !== null) {
      link.href = '#';
      link.className = 'author';
      link.dataset.whisperTo = address;
      link.dataset.whisperName = name;
      link.title = from.getAttribute('title') || '';
      return link;
    }
    var href = webAddress(from.getAttribute('href') || '');
    if (href) {
      link.href = href;
      link.target = '_blank';
      link.rel = 'noopener noreferrer';
    }
    return link;
  }

  function cleanImage(from) {
    var src = webAddress(from.getAttribute('src') || '');
    if (!src) {
      return document.createTextNode('');
    }
    var image = document.createElement('img');
    image.src = src;
    image.alt = from.getAttribute('alt') || '';
    image.loading = 'lazy';
    image.referrerPolicy = 'no-referrer';
    return image;
  }

  function copyClean(from, to) {
    from.childNodes.forEach(function (node) {
      if (node.nodeType === Node.TEXT_NODE) {
        to.appendChild(document.createTextNode(node.data));
      } else if (node.nodeType === Node.ELEMENT_NODE) {
        var known = ALLOWED[node.tagName];
        var copy = to;
        if (node.tagName === 'A') {
          copy = to.appendChild(cleanLink(node));
        } else if (node.tagName === 'IMG') {
          copy = to.appendChild(cleanImage(node));
        } else if (known) {
          copy = to.appendChild(document.createElement(node.tagName));
        } else if (node.tagName === 'SCRIPT' || node.tagName === 'STYLE') {
          return;
        }
        copyClean(node, copy);
      }
    });
  }

  // A fragment of what the markup says.
  window.loopCleaned = function (markup) {
    // Browsers look at handlers as they parse, and tell of each that the page's policy forbids; this one is read as data.
    // `<` begins a tag here wherever it stands: in a message's text it is written `&lt;`.
    var data = String(markup).replace(/<a href='#' onclick='/g, "<a href='#' data-onclick='");
    var parsed = new DOMParser().parseFromString(data, 'text/html');
    var fragment = document.createDocumentFragment();
    copyClean(parsed.body, fragment);
    return fragment;
  };
})();
