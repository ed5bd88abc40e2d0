// A forum's list as the hub pushes it, by server-sent events. A server that has no such thing refuses, and is asked again now
// and then: whoever uses this polls meanwhile.
(function () {
  'use strict';

  var AGAIN = 60000; // milliseconds after a refusal
  var CLOSED = 2;

  // `told(messages)`: the whole list, newest first, when it has changed. `turned()`: it is live now, or is not any more.
  window.loopWatch = function (told, turned) {
    var source = null;
    var live = false;
    var refusedAt = -AGAIN;
    var known = new Map(); // messages of the list, by id

    function turn(on) {
      if (live !== on) {
        live = on;
        turned();
      }
    }

    function close() {
      if (source) {
        source.close();
        source = null;
      }
      known = new Map();
      live = false;
    }

    function take(change) {
      var list = new Map();
      change.res.forEach(function (message) { known.set(String(message.id), message); });
      change.ids.forEach(function (id) {
        if (known.has(id)) {
          list.set(id, known.get(id));
        }
      });
      known = list;
      told(Array.from(list.values()));
    }

    function open(url) {
      if (source || !window.EventSource || Date.now() - refusedAt < AGAIN) {
        return;
      }
      source = new EventSource(url);
      source.onopen = function () { turn(true); };
      source.onmessage = function (event) { take(JSON.parse(event.data)); };
      source.onerror = function () {
        // A lost connection is opened again by the browser, with the number of the last event it has.
        if (source.readyState === CLOSED) {
          refusedAt = Date.now();
          close();
          turned();
        } else {
          turn(false);
        }
      };
    }

    return { open: open, close: close, isLive: function () { return live; } };
  };
})();
