// The chat in AtomJump's pop-up: shows a forum's messages and sends what is typed.
//
// Builds on the page search-secure.php makes: its form, list and texts. Speaks AtomJump's own interface over JSONP, so
// that it works from any page and against any AtomJump server.
(function () {
  'use strict';

  // Milliseconds, unless said otherwise.
  var POLL_VISIBLE = 600; // somebody is looking: with the way there and back a message is seen within a second
  var POLL_HIDDEN = 5000; // AtomJump's own pace
  var POLL_WATCHING = 30000; // changes are pushed: only how long ago messages were written changes by itself
  var SLOW = 3000; // an answer that takes longer gets a warning
  var RESEND_AFTER = 20000; // a commit unanswered for so long counts as lost
  var RESEND_PAUSE = 10000;
  var TYPING_PAUSE = 10000; // without a key for so long, nobody is typing
  var READS_MAX = 2; // reads waiting for an answer at once
  var RECORDS = 25;
  var RECORDS_MORE = 500;
  var COOKIE_SECONDS = 94608000; // three years

  var feedback = window.ajFeedback || {};
  var form = document.getElementById('shout-form');
  var list = document.getElementById('messages');
  var statusLine = document.getElementById('status');
  var more = document.getElementById('more');
  var entry = document.getElementById('message');
  var sendButton = document.getElementById('send');
  var banner = document.getElementById('whisper-banner');
  if (!form || !list || !entry) {
    return;
  }

  var field = function (name) { return form.elements.namedItem(name) || { value: '' }; };
  var text = (function () {
    var template = document.getElementById('texts');
    return function (name) {
      var found = template && template.content.querySelector('[data-text="' + name + '"]');
      return found ? found.textContent : '';
    };
  })();

  function setCookie(name, value) {
    document.cookie = name + '=' + encodeURIComponent(value) + '; path=/; max-age=' + COOKIE_SECONDS;
  }

  // ---------------------------------------------------------------- JSONP

  // The hub recognises a re-sent commit by session, number, text and this token, so it stays the same for the page.
  var pageToken = (function () {
    var words = new Uint32Array(3);
    window.crypto.getRandomValues(words);
    return 'jQuery' + Array.prototype.join.call(words, '');
  })();
  var nonce = Date.now();

  function urlOf(script) {
    var server = String(feedback.server || '').replace(/\/+$/, '');
    return server ? server + '/' + script : script;
  }

  function readUrl() {
    var url = window.readURL;
    if (!url) {
      return urlOf('search-chat.php');
    }
    return /\.php$/.test(url) ? url : String(url).replace(/\/+$/, '') + '/search-chat.php';
  }

  function queryOf(params, callback) {
    var query = new URLSearchParams();
    query.append('callback', callback);
    params.forEach(function (pair) { query.append(pair[0], pair[1]); });
    query.append('_', String(nonce));
    return query.toString();
  }

  // Calls `done(error, value)` once. Nothing is aborted: an answer that comes late still comes.
  function jsonp(url, params, done) {
    nonce += 1;
    var name = pageToken + '_' + nonce;
    var script = document.createElement('script');
    var finish = function (error, value) {
      if (!script) {
        return;
      }
      script.remove();
      script = null;
      delete window[name];
      done(error, value);
    };
    window[name] = function (value) { finish(null, value); };
    script.onerror = function () { finish(new Error('no answer')); };
    script.onload = function () { finish(new Error('no JSONP')); };
    script.async = true;
    script.src = url + '?' + queryOf(params, name);
    document.head.appendChild(script);
  }

  // ---------------------------------------------------------------- status line

  var warnings = { slow: false, unsent: false };

  function warn(name, on) {
    warnings[name] = on;
    var shown = warnings.unsent ? 'unsent' : warnings.slow ? 'slow' : '';
    if (statusLine) {
      statusLine.hidden = !shown;
      statusLine.textContent = shown ? text(shown) : '';
    }
  }

  // ---------------------------------------------------------------- showing messages

  var cleaned = window.loopCleaned;
  var own = new Set(); // ids of messages sent from this page
  var markupOf = new WeakMap(); // what an item on the screen was made from

  function itemOf(message) {
    var item = document.createElement('li');
    item.dataset.id = String(message.id);
    markupOf.set(item, String(message.text));
    var body = document.createElement('div');
    body.className = 'body';
    body.appendChild(cleaned(String(message.text)));
    var meta = document.createElement('div');
    meta.className = 'meta';
    var ago = document.createElement('span');
    ago.className = 'ago';
    meta.appendChild(ago);
    item.appendChild(body);
    item.appendChild(meta);
    return item;
  }

  function refresh(item, message) {
    var ago = item.querySelector('.ago');
    if (ago.textContent !== String(message.ago)) {
      ago.textContent = String(message.ago);
    }
    var isPrivate = message.whisper === true;
    item.classList.toggle('whisper', isPrivate);
    var meta = item.querySelector('.meta');
    var badge = meta.querySelector('.private');
    if (isPrivate && !badge) {
      badge = document.createElement('span');
      badge.className = 'private';
      badge.textContent = text('private');
      meta.appendChild(badge);
    } else if (!isPrivate && badge) {
      badge.remove();
    }
    var remove = meta.querySelector('.delete');
    if (own.has(String(message.id)) && !remove) {
      remove = document.createElement('button');
      remove.type = 'button';
      remove.className = 'delete';
      remove.textContent = text('delete');
      meta.appendChild(remove);
    }
  }

  function showEmpty() {
    if (!list.querySelector('.empty')) {
      var item = document.createElement('li');
      item.className = 'empty';
      item.textContent = text('empty');
      list.replaceChildren(item);
    }
  }

  // Items stay the elements they are, so that a screen reader reads out only what is new.
  function show(messages) {
    if (messages.length === 0) {
      showEmpty();
      return;
    }
    var before = new Map();
    Array.prototype.forEach.call(list.children, function (item) { before.set(item.dataset.id, item); });
    var next = list.firstElementChild;
    messages.forEach(function (message) {
      var item = before.get(String(message.id));
      if (item && markupOf.get(item) !== String(message.text)) {
        if (item === next) {
          next = next.nextElementSibling;
        }
        item.remove();
        item = null;
      }
      before.delete(String(message.id));
      item = item || itemOf(message);
      refresh(item, message);
      if (item === next) {
        next = next.nextElementSibling;
      } else {
        list.insertBefore(item, next);
      }
    });
    before.forEach(function (item) { item.remove(); });
  }

  // ---------------------------------------------------------------- answers

  var asked = 0; // numbers the requests
  var shownOf = 0; // the newest request whose answer is on the screen

  function take(number, answer) {
    if (!answer || typeof answer !== 'object') {
      return;
    }
    if (answer.ses) {
      field('ses').value = answer.ses;
      setCookie('ses', answer.ses);
    }
    if (answer.title && window.parent !== window) {
      window.parent.postMessage({ title: answer.title }, '*');
    }
    if (number < shownOf) {
      return; // a newer answer is on the screen already
    }
    shownOf = number;
    var messages = Array.isArray(answer.res) ? answer.res : [];
    show(messages);
    if (more) {
      more.hidden = !(records <= RECORDS && messages.length >= RECORDS);
    }
  }

  // ---------------------------------------------------------------- reading

  var records = RECORDS;
  var reading = 0;
  var failures = 0;
  var pollTimer = 0;

  function readParams() {
    return [
      ['lat', field('lat').value], ['lon', field('lon').value], ['passcode', field('passcode').value],
      ['units', field('units').value], ['volume', field('volume').value], ['records', String(records)],
      ['lang', document.documentElement.lang || 'en'], ['whisper_site', feedback.myMachineUser || ''],
      ['sessionId', field('ses').value], ['general', field('general').value], ['subdomain', window.subdomain || '']
    ];
  }

  function read() {
    if (reading >= READS_MAX) {
      return;
    }
    var number = asked += 1;
    reading += 1;
    var late = setTimeout(function () { warn('slow', true); }, SLOW);
    jsonp(readUrl(), readParams(), function (error, answer) {
      clearTimeout(late);
      reading -= 1;
      failures = error ? failures + 1 : 0;
      warn('slow', Boolean(error));
      if (!error) {
        take(number, answer);
        watchOn();
      }
      pollSoon();
    });
  }

  // ---------------------------------------------------------------- watching

  var watch = window.loopWatch(function (messages) {
    if (records > RECORDS) {
      read(); // longer than what is pushed
      return;
    }
    take(asked += 1, { res: messages });
  }, pollSoon);

  // A browser has few connections for one host: pages that nobody looks at need none. Begins when there is a session.
  function watchOn() {
    if (document.visibilityState === 'visible' && field('ses').value) {
      var query = new URLSearchParams();
      readParams().forEach(function (pair) { query.append(pair[0], pair[1]); });
      watch.open(urlOf('watch') + '?' + query.toString());
    }
  }

  function pace() {
    if (document.visibilityState === 'hidden') {
      return POLL_HIDDEN;
    }
    if (watch.isLive() && !failures) {
      return POLL_WATCHING;
    }
    // After failures slower, and not all browsers at once.
    var slowed = Math.min(POLL_VISIBLE * Math.pow(2, Math.min(failures, 3)), POLL_HIDDEN);
    return failures ? slowed * (0.75 + Math.random() / 2) : slowed;
  }

  function pollSoon() {
    clearTimeout(pollTimer);
    pollTimer = setTimeout(function () {
      read();
      // Asked again even if this one is never answered.
      clearTimeout(pollTimer);
      pollTimer = setTimeout(pollSoon, POLL_HIDDEN);
    }, pace());
  }

  // ---------------------------------------------------------------- writing

  var written = 0; // numbers the messages of this page: msg_id
  var current = null; // the message being typed
  var unsent = new Set(); // committed and not answered yet
  var pauseTimer = 0;

  function formParams(message) {
    var params = [];
    new FormData(form).forEach(function (value, name) {
      params.push([name, Object.prototype.hasOwnProperty.call(message, name) ? message[name] : String(value)]);
    });
    return params;
  }

  function begin() {
    written += 1;
    return { number: String(written), sid: '', typing: 0, committed: null, done: false, paused: false };
  }

  function removeTyping(sid) {
    jsonp(urlOf('de.php'), removalParams(sid, true), function (error) {
      if (error) {
        setTimeout(function () { removeTyping(sid); }, RESEND_PAUSE);
      }
    });
  }

  function removalParams(sid, justTyping) {
    var params = [['mid', sid], ['passcode', field('passcode').value], ['ses', field('ses').value]];
    return justTyping ? params.concat([['just_typing', 'on']]) : params;
  }

  function typingOn(message) {
    var number = asked += 1;
    message.typing += 1;
    message.paused = false;
    var params = formParams({
      typing: 'on', shout_id: message.sid, msg_id: message.number, message: entry.value.slice(0, 1),
      shouted: entry.value.slice(0, 1), whisper_site: feedback.myMachineUser || ''
    });
    jsonp(urlOf('index.php'), params, function (error, answer) {
      message.typing -= 1;
      var sid = !error && answer && answer.sid ? String(answer.sid) : '';
      if (!sid) {
        return;
      }
      if (message.committed !== null && !message.sid) {
        removeTyping(sid); // committed without it: this row would stay
        return;
      }
      message.sid = sid;
      own.add(sid);
      take(number, answer);
      if (message.paused) {
        removeTyping(sid);
      }
    });
  }

  function pause() {
    if (!current || current.paused) {
      return;
    }
    current.paused = true;
    if (current.sid) {
      removeTyping(current.sid);
    }
  }

  function typed() {
    clearTimeout(pauseTimer);
    if (entry.value === '') {
      pause();
      return;
    }
    if (!current) {
      current = begin();
      typingOn(current);
    } else if (current.paused) {
      typingOn(current);
    }
    pauseTimer = setTimeout(pause, TYPING_PAUSE);
  }

  // The message is taken out of the form now: whom it goes to must not change while it is on its way.
  function commit(ending) {
    var words = entry.value;
    if (words.trim() === '') {
      return;
    }
    clearTimeout(pauseTimer);
    var message = current || begin();
    current = null;
    message.committed = formParams({
      typing: 'off', msg_id: message.number, message: words.replace(/\r?\n/g, '\r\n') + ending, shouted: '',
      whisper_site: feedback.myMachineUser || ''
    });
    message.sentBlind = message.sid === '';
    entry.value = '';
    records = RECORDS;
    unsent.add(message);
    send(message);
  }

  function commitParams(message) {
    return message.committed.map(function (pair) {
      return pair[0] === 'shout_id' ? ['shout_id', message.sid] : pair;
    });
  }

  function send(message) {
    var number = asked += 1;
    var over = false;
    var late = setTimeout(function () { warn('unsent', true); }, SLOW);
    var again = function () {
      if (!over && !message.done) {
        over = true;
        clearTimeout(lost);
        warn('unsent', true);
        setTimeout(function () { if (!message.done) { send(message); } }, RESEND_PAUSE);
      }
    };
    var lost = setTimeout(again, RESEND_AFTER);
    jsonp(urlOf('index.php'), commitParams(message), function (error, answer) {
      clearTimeout(late);
      if (error) {
        again();
        return;
      }
      clearTimeout(lost);
      if (message.done) {
        return; // the answer to another sending of it came first
      }
      over = true;
      message.done = true;
      unsent.delete(message);
      warn('unsent', unsent.size > 0 && warnings.unsent);
      if (answer && answer.sid && message.sentBlind) {
        own.add(String(answer.sid));
      }
      take(number, answer);
      read();
    });
  }

  // ---------------------------------------------------------------- whispers

  function publicAgain() {
    field('whisper_to').value = '';
    if (banner) {
      banner.hidden = true;
    }
    document.body.classList.remove('whispering');
    sendButton.textContent = window.sendPubliclyMsg || sendButton.textContent;
    entry.focus();
  }

  // Stored messages call this by name.
  window.whisper = function (address, name) {
    if (window.granted === false) {
      return;
    }
    field('whisper_to').value = String(address);
    var line = document.getElementById('whisper-text');
    if (line) {
      line.textContent = text('private-to') + ' ' + String(name);
    }
    if (banner) {
      banner.hidden = false;
    }
    document.body.classList.add('whispering');
    sendButton.textContent = window.sendPrivatelyMsg || sendButton.textContent;
    entry.focus();
  };

  function clicked(event) {
    var author = event.target.closest('a[data-whisper-to]');
    if (author) {
      event.preventDefault();
      window.whisper(author.dataset.whisperTo, author.dataset.whisperName);
      return;
    }
    var remove = event.target.closest('button.delete');
    if (remove) {
      remove.disabled = true;
      jsonp(urlOf('de.php'), removalParams(remove.closest('li').dataset.id, false), function () { read(); });
    }
  }

  // ---------------------------------------------------------------- a forum with a password

  function openForum() {
    var password = document.getElementById('forumpass');
    var params = [['passcode', field('passcode').value], ['forumpasscheck', password.value], ['ses', field('ses').value]];
    jsonp(urlOf('confirm.php'), params, function (error, answer) {
      if (!error && String(answer).split(',')[1] === 'RELOAD') {
        window.location.reload();
      } else {
        warn('unsent', false);
        statusLine.hidden = false;
        statusLine.textContent = error ? text('slow') : 'That is not the password.';
        password.select();
      }
    });
  }

  // ---------------------------------------------------------------- leaving

  function leave() {
    watch.close();
    // A page that is left gets no answers, so these are only posted. A commit keeps its number and page: if it had
    // arrived before, the hub knows it.
    var post = function (script, params) {
      nonce += 1;
      navigator.sendBeacon(urlOf(script) + '?' + queryOf(params, pageToken + '_' + nonce));
    };
    unsent.forEach(function (message) { post('index.php', commitParams(message)); });
    if (current && current.sid && !current.paused) {
      post('de.php', removalParams(current.sid, true));
      current.paused = true;
    }
  }

  // ---------------------------------------------------------------- start

  form.addEventListener('submit', function (event) {
    event.preventDefault();
    if (window.granted === false) {
      openForum();
    } else {
      commit('');
    }
  });

  if (window.granted === false) {
    return;
  }

  entry.addEventListener('input', typed);
  entry.addEventListener('keydown', function (event) {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      commit('\r\n');
    }
  });
  list.addEventListener('click', clicked);
  var cancel = document.getElementById('whisper-cancel');
  if (cancel) {
    cancel.textContent = window.goPublicMsg || cancel.textContent;
    cancel.addEventListener('click', publicAgain);
  }
  if (more) {
    more.addEventListener('click', function (event) {
      event.preventDefault();
      records = RECORDS_MORE;
      more.hidden = true;
      read();
    });
  }
  var yourName = document.getElementById('your-name');
  if (yourName) {
    var nameChanged = function () {
      // The server decodes this one twice.
      field('your_name').value = yourName.value.replace(/%/g, '%25').replace(/\+/g, '%2B');
    };
    nameChanged();
    yourName.addEventListener('input', nameChanged);
    yourName.addEventListener('change', function () { setCookie('your_name', yourName.value); });
    yourName.addEventListener('keydown', function (event) {
      if (event.key === 'Enter') {
        event.preventDefault();
        entry.focus();
      }
    });
  }
  document.addEventListener('visibilitychange', function () {
    if (document.visibilityState === 'visible') {
      read();
    } else {
      watch.close();
    }
    pollSoon();
  });
  window.addEventListener('pagehide', leave);
  if (field('ses').value) {
    setCookie('ses', field('ses').value);
  }
  read();
  pollSoon();
})();
