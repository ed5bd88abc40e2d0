// What Socket.IO clients of every generation see of three hubs: who is there, and messages between them.
import assert from 'node:assert/strict';
import { Client, GENERATIONS, HUBS, TRANSPORTS, closeAll, please, until } from './clients.mjs';

const TEXT = 'naïve Zoë says "hi" 😀 \u2028 <b>';

const sortedAndUnique = (list) => assert.deepEqual(list, [...new Set(list)].sort());

// Each generation by each transport: named, listed, talked to from another hub, and gone again.
async function everyGeneration() {
  const watcher = await new Client(3).as('watcher');
  const combinations = Object.keys(GENERATIONS).flatMap((version) => Object.keys(TRANSPORTS).map((t) => [version, t]));
  await Promise.all(combinations.map(async ([version, transport], at) => {
    const name = `Zoë ${version} ${transport} 😀`;
    const client = await new Client(1 + (at % 2), { version, transport }).as(name);
    sortedAndUnique(client.list);
    assert.deepEqual(Object.keys(client.lists.at(-1)), ['list']);
    await watcher.sees(name);
    sortedAndUnique(watcher.list);

    client.say(name, 'watcher', `${TEXT} of ${name}`, { extra: { deep: [1, null, 'ü'] }, big: 1e21 });
    const arrived = await watcher.gets(`${TEXT} of ${name}`);
    const sent = { from: name, to: 'watcher', text: `${TEXT} of ${name}`, extra: { deep: [1, null, 'ü'] }, big: 1e21 };
    assert.deepEqual(arrived, { ...sent, forwarded: true });
    assert.deepEqual(await client.gets(`${TEXT} of ${name}`), { ...sent, forwarded: false }, 'its echo');

    watcher.say('watcher', name, `answer to ${name}`);
    assert.equal((await client.gets(`answer to ${name}`)).forwarded, true);
    client.say(name, name, `note of ${name}`);
    await client.gets(`note of ${name}`);

    // In order, whatever the transport. What comes last shows that nothing came twice.
    for (let n = 0; n < 50; n += 1) client.say(name, name, `${n}`);
    await client.gets('49');
    assert.deepEqual(client.messages.slice(3).map((m) => m.text), Array.from({ length: 50 }, (_, n) => `${n}`), client.what);
    for (const text of [`${TEXT} of ${name}`, `answer to ${name}`, `note of ${name}`]) {
      assert.equal(client.with(text).length, 1, `${client.what}: once`);
    }
    if (transport === 'upgrade') {
      await until(`${client.what} has a WebSocket`, () => client.transport() === 'websocket');
      client.say(name, 'watcher', `from the WebSocket of ${name}`);
      await watcher.gets(`from the WebSocket of ${name}`);
    }
    assert.equal(client.socket.connected, true, `${client.what} is still there: ${client.errors}`);
    client.close();
    await watcher.misses(name);
  }));
  assert.equal(watcher.messages.filter((m) => m.text.startsWith(TEXT)).length, combinations.length, 'each once');
  watcher.close();
  console.log(`${combinations.length} combinations of client and transport`);
}

// One user, many clients on many hubs; everybody gets one copy.
async function tabs() {
  const anna = [await new Client(1).as('Anna'), await new Client(1, { version: '1.7.4' }).as('Anna'), await new Client(2).as('Anna')];
  const billy = [await new Client(2, { version: '2.5.0' }).as('Billy'), await new Client(3).as('Billy')];
  const bystander = await new Client(1).as('Carl');
  const silent = await new Client(1).connected();
  await Promise.all([...anna, ...billy, bystander].map((client) => client.sees('Anna', 'Billy', 'Carl')));
  const everybody = [...anna, ...billy];
  const last = async (text, from, clients) => {
    from.say('Anna', 'Billy', text);
    await Promise.all(clients.map((client) => client.gets(text)));
  };

  billy[1].say('Billy', 'Anna', 'hello all');
  await Promise.all(everybody.map((client) => client.gets('hello all')));
  billy[1].say('Billy', 'Billy', 'to myself');
  billy[1].say('Billy', 'nobody', 'to nobody');
  await Promise.all(billy.flatMap((client) => [client.gets('to myself'), client.gets('to nobody')]));
  // A client that says it is forwarded keeps a message on its hub.
  anna[2].say('Anna', 'Billy', 'only here', { forwarded: true });
  await Promise.all([anna[2], billy[0]].map((client) => client.gets('only here')));
  // Nobody has to have a name to send; a name nobody proves.
  silent.say('Billy', 'Anna', 'without a name');
  await Promise.all(everybody.map((client) => client.gets('without a name')));

  await last('the end', anna[0], everybody);
  // What was sent from elsewhere may come behind what is last; a second round cannot overtake it.
  for (const client of everybody) await last(`the end of ${client.what}`, client, everybody);
  const counts = (client) => ['hello all', 'to myself', 'to nobody', 'only here', 'without a name', 'the end'].map((text) => client.with(text).length);
  for (const [at, client] of anna.entries()) assert.deepEqual(counts(client), [1, 0, 0, at === 2 ? 1 : 0, 1, 1], client.what);
  for (const [at, client] of billy.entries()) assert.deepEqual(counts(client), [1, 1, 1, at === 0 ? 1 : 0, 1, 1], client.what);
  assert.equal(bystander.messages.length + silent.messages.length, 0);
  assert.equal(silent.lists.length, 0, 'who has no name is told nothing');
  await please('look');

  // A user is there until its last connection is gone.
  // One at a time: changes that come together are told in one list.
  for (const tab of [anna[0], anna[2]]) {
    const lists = bystander.lists.length;
    tab.close();
    await until('the list is told again', () => bystander.lists.length > lists, () => bystander.lists.length);
    assert.ok(bystander.list.includes('Anna'));
  }
  anna[1].close();
  await bystander.misses('Anna');
  [...billy, bystander, silent].forEach((client) => client.close());
  console.log('one user, many clients');
}

// One identity for each connection; names are whatever they are.
async function names() {
  const watcher = await new Client(2).as('watcher');
  const client = await new Client(1).as('first');
  client.socket.emit('identify', 'first');
  client.socket.emit('identify', 'second');
  await Promise.all([client, watcher].map((one) => one.sees('second')));
  await Promise.all([client, watcher].map((one) => one.misses('first')));
  watcher.say('watcher', 'first', 'to whoever was first');
  watcher.say('watcher', 'second', 'to the second');
  await client.gets('to the second');
  assert.deepEqual(client.messages.map((m) => m.text), ['to the second'], 'once, and nothing for its former name');
  client.close();
  await watcher.misses('second');

  const odd = ['__proto__', 'constructor', 'hasOwnProperty', '\u{1f600}', '\u{ff5e}', 'anna', 'Billy', 'Carl'];
  const clients = await Promise.all([...odd, 42].map((name) => new Client(1).as(name)));
  await watcher.sees('42', ...odd);
  const expected = ['watcher', '42', ...odd].sort();
  assert.deepEqual(watcher.list, expected);
  watcher.say('watcher', '__proto__', 'proto');
  watcher.say('watcher', 42, 'number');
  await Promise.all([clients[0].gets('proto'), clients.at(-1).gets('number')]);
  [...clients, watcher].forEach((one) => one.close());
  console.log('names');
}

// Whatever a client sends, it harms nobody else; what is no more than nonsense does not even harm itself.
async function nonsense() {
  const watcher = await new Client(2).as('watcher');
  for (const version of Object.keys(GENERATIONS)) {
    const client = await new Client(1, { version }).connected();
    const { socket } = client;
    for (const name of [undefined, null, '', {}, [], true, 'x'.repeat(300)]) socket.emit('identify', name);
    for (const message of [undefined, null, 'text', [], {}, { from: 'a' }, { from: {}, to: [] }, { from: 'watcher', to: 'watcher', text: 'x'.repeat(40_000) }]) {
      socket.emit('im', message);
    }
    // A mesh's own event, by which any client could once change what everybody sees.
    socket.emit('update_peer', { peerId: 'server-2', list: [{ id: 'ghost', connections: 1 }] });
    socket.emit('no such event', 1, 2, 3);
    const name = `sane ${version}`;
    const again = socket.connected ? client : await new Client(1, { version }).connected();
    await again.as(name);
    await watcher.sees(name);
    again.say(name, 'watcher', `still here ${version}`);
    await watcher.gets(`still here ${version}`);
    assert.ok(!again.list.includes('ghost') && !again.list.includes('undefined') && !again.list.includes(''));
    client.close();
    again.close();
  }
  await watcher.misses(...Object.keys(GENERATIONS).map((version) => `sane ${version}`));
  assert.deepEqual(watcher.list, ['watcher']);
  assert.equal(watcher.messages.length, Object.keys(GENERATIONS).length, 'nothing too long arrives');
  watcher.close();
  console.log('nonsense');
}

// More at once than one request may have: clients divide it, and all of it arrives in order.
async function much() {
  const [one, two] = [await new Client(1, { transport: 'polling' }).as('one'), await new Client(2, { transport: 'polling' }).as('two')];
  const text = (n) => `${n} ${'ü'.repeat(5_000)}`;
  for (let n = 0; n < 40; n += 1) one.say('one', 'two', text(n));
  await two.gets(text(39));
  assert.deepEqual(two.messages.map((m) => m.text), Array.from({ length: 40 }, (_, n) => text(n)));
  one.close();
  two.close();
  console.log('much at once');
}

// The door itself: pages of any origin, and requests that are none.
async function door() {
  const origin = 'http://localhost:8080';
  const url = `${HUBS[0]}/socket.io/`;
  const begun = await fetch(`${url}?EIO=3&transport=polling`, { headers: { origin } });
  assert.equal(begun.headers.get('access-control-allow-origin'), origin);
  assert.equal(begun.headers.get('access-control-allow-credentials'), 'true');
  assert.match(await begun.text(), /^\d+:0\{"sid":/);
  const preflight = await fetch(url, { method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-y' } });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers.get('access-control-allow-headers'), 'x-y');
  for (const query of ['', '?EIO=9&transport=polling', '?EIO=4', '?EIO=4&transport=smoke', '?EIO=4&transport=polling&sid=nobody', '?EIO=4&transport=websocket']) {
    const answer = await fetch(url + query);
    assert.equal(answer.status, 400, query);
  }
  const { sid, maxPayload } = JSON.parse((await (await fetch(`${url}?EIO=4&transport=polling`)).text()).slice(1));
  assert.equal(maxPayload, 128 * 1024);
  const post = (body, method = 'POST') => fetch(`${url}?EIO=4&transport=polling&sid=${sid}`, { method, body });
  assert.equal((await post('4'.repeat(200_000))).status, 413);
  assert.equal((await post('x', 'PUT')).status, 405);
  assert.equal((await post('40')).status, 200);
  assert.equal((await post('garbage')).status, 400);
  assert.equal((await post('40')).status, 400, 'whoever sends garbage is gone');
  console.log('the door');
}

// Hubs that die, return and come late.
async function hubs() {
  const [one, two] = [await new Client(1).as('one'), await new Client(2).as('two')];
  const three = await new Client(3, { version: '2.5.0', reconnection: true }).as('three');
  const four = await new Client(3, { version: '4.8.4', reconnection: true }).as('four');
  await Promise.all([one, two, three].map((client) => client.sees('one', 'two', 'three', 'four')));

  await please('kill 3');
  await Promise.all([one, two].map((client) => client.misses('three', 'four')));
  // Who is left goes on; a message for who is gone is told to its sender only.
  one.say('one', 'three', 'to the dead');
  one.say('one', 'two', 'among the living');
  await two.gets('among the living');
  await one.gets('to the dead');
  const lists = [one.lists.length, two.lists.length];

  await please('start 3');
  // Clients come back by themselves; everybody sees them, and they everybody.
  await Promise.all([one, two, three, four].map((client) => client.sees('one', 'two', 'three', 'four')));
  await until('they are told anew', () => one.lists.length > lists[0] && two.lists.length > lists[1]);
  for (const [from, sender] of [['one', one], ['three', three], ['four', four]]) {
    for (const [to, receiver] of [['one', one], ['two', two], ['three', three], ['four', four]]) {
      if (from === to) continue;
      sender.say(from, to, `${from} to ${to} again`);
      await receiver.gets(`${from} to ${to} again`);
      assert.equal(receiver.with(`${from} to ${to} again`).length, 1);
    }
  }
  // The first user of a hub that came late, seen at once.
  await please('kill 2');
  two.close();
  await one.misses('two');
  await please('start 2');
  const late = await new Client(2).as('late');
  await Promise.all([one, three, four, late].map((client) => client.sees('one', 'three', 'four', 'late')));
  late.say('late', 'four', 'I am late');
  await four.gets('I am late');
  console.log('hubs that die and return');
}

// One hub alone is a mesh of one.
async function alone() {
  await please('kill 2');
  await please('kill 3');
  const [anna, billy] = [await new Client(1).as('Anna'), await new Client(1, { version: '1.4.5' }).as('Billy')];
  billy.say('Billy', 'Anna', 'just us');
  await anna.gets('just us');
  await billy.gets('just us');
  console.log('one hub alone');
}

await everyGeneration();
await tabs();
await names();
await nonsense();
await much();
await door();
await hubs();
await alone();
closeAll();
process.exit(0);
