// Direct messages: says who one is, shows who is there, sends and shows messages. The history is this page's own; hubs keep none.
//
// Speaks Socket.IO by itself, over a WebSocket: what is needed of it is three packets. Names and texts are shown as text only.
(function () {
  'use strict';

  // Milliseconds, unless said otherwise.
  var RETRY_FIRST = 500;
  var RETRY_MOST = 5000;
  var HISTORY_MAX = 500; // messages

  var byId = function (id) { return document.getElementById(id); };
  var nameField = byId('name'), hubField = byId('hub'), connectButton = byId('connect');
  var statusLine = byId('status'), userList = byId('users'), history = byId('history');
  var toField = byId('to'), textField = byId('text'), sendButton = byId('send');

  var socket = null; // while one is wanted
  var retryIn = RETRY_FIRST;
  var retryTimer = 0;

  function say(text, connected) {
    statusLine.textContent = text;
    sendButton.disabled = !connected;
    connectButton.textContent = socket ? 'Disconnect' : 'Connect';
    nameField.disabled = hubField.disabled = Boolean(socket);
  }

  function address() {
    return hubField.value.replace(/^http/, 'ws') + '/socket.io/?EIO=4&transport=websocket';
  }

  function emit(event, argument) {
    socket.send('42' + JSON.stringify([event, argument]));
  }

  function open() {
    var mine = new WebSocket(address());
    socket = mine;
    say('Connecting…', false);
    mine.onmessage = function (message) { hear(String(message.data)); };
    mine.onclose = function () {
      if (socket !== mine) {
        return;
      }
      say('The hub cannot be reached; trying again…', false);
      retryTimer = setTimeout(open, retryIn);
      retryIn = Math.min(retryIn * 2, RETRY_MOST);
    };
  }

  function close() {
    var closing = socket;
    socket = null;
    clearTimeout(retryTimer);
    closing.close();
    showUsers([]);
    say('Not connected', false);
  }

  function hear(packet) {
    if (packet[0] === '0') {
      socket.send('40');
    } else if (packet === '2') {
      socket.send('3');
    } else if (packet.slice(0, 2) === '40') {
      retryIn = RETRY_FIRST;
      emit('identify', nameField.value);
      say('Connected as ' + nameField.value, true);
    } else if (packet.slice(0, 2) === '42') {
      var event = JSON.parse(packet.slice(2));
      if (event[0] === 'update_client') {
        showUsers(event[1].list);
      } else if (event[0] === 'im') {
        showMessage(event[1]);
      }
    }
  }

  function element(kind, text, className) {
    var made = document.createElement(kind);
    made.textContent = text;
    made.className = className || '';
    return made;
  }

  function showUsers(users) {
    userList.textContent = '';
    users.forEach(function (user) {
      var item = document.createElement('li');
      var button = element('button', user);
      button.type = 'button';
      button.setAttribute('aria-pressed', String(user === toField.value));
      button.addEventListener('click', function () {
        toField.value = user;
        showUsers(users);
        textField.focus();
      });
      item.appendChild(button);
      userList.appendChild(item);
    });
    // As on the original page, whom one writes to is at first the one whom one is not.
    var other = users.filter(function (user) { return user !== nameField.value; })[0];
    if (!toField.value && other) {
      toField.value = other;
    }
  }

  function showMessage(message) {
    var item = document.createElement('li');
    item.appendChild(element('time', new Date().toLocaleTimeString()));
    item.appendChild(element('span', message.from + ' → ' + message.to, 'who'));
    item.appendChild(document.createTextNode(': ' + message.text));
    history.appendChild(item);
    if (history.childElementCount > HISTORY_MAX) {
      history.firstElementChild.remove();
    }
    history.scrollTop = history.scrollHeight;
  }

  byId('connect-form').addEventListener('submit', function (event) {
    event.preventDefault();
    if (socket) {
      close();
    } else {
      retryIn = RETRY_FIRST;
      open();
    }
  });

  byId('send-form').addEventListener('submit', function (event) {
    event.preventDefault();
    emit('im', { from: nameField.value, to: toField.value, text: textField.value, forwarded: false });
    textField.value = '';
    textField.focus();
  });

  // What `multi.html` fills in: realtime.html?name=Anna&hub=2
  var given = new URLSearchParams(location.search);
  hubField.selectedIndex = Math.max(0, Math.min(Number(given.get('hub')) || 1, hubField.options.length) - 1);
  if (given.get('name')) {
    nameField.value = given.get('name');
    open();
  } else {
    say('Not connected', false);
  }
})();
