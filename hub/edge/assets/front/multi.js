// Several clients beside one another, for trying out: multi.html?n=6 shows six, of two people, through all hubs in turn.
(function () {
  'use strict';

  var MOST = 24;
  var PEOPLE = ['Anna', 'Billy'];

  var clients = document.getElementById('clients');
  var hubs = Number(clients.dataset.hubs) || 1;
  var wanted = Math.floor(Number(new URLSearchParams(location.search).get('n'))) || 4;
  for (var n = 0; n < Math.max(1, Math.min(wanted, MOST)); n += 1) {
    var frame = document.createElement('iframe');
    frame.title = 'Client ' + (n + 1);
    frame.src = 'realtime.html?name=' + PEOPLE[n % PEOPLE.length] + '&hub=' + (1 + Math.floor(n / PEOPLE.length) % hubs);
    clients.appendChild(frame);
  }
})();
