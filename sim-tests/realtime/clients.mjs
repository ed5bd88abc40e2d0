// Socket.IO clients of every generation, as npm has them, and what a story needs to wait for.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import readline from 'node:readline';

const require = createRequire(import.meta.url);

export const HUBS = process.env.LOOP_HUBS.split(',');

export const GENERATIONS = {
  '1.4.5': require('socket.io-client-1.4'),
  '1.7.4': require('socket.io-client-1.7'),
  '2.5.0': require('socket.io-client-2'),
  '3.1.3': require('socket.io-client-3').io,
  '4.8.4': require('socket.io-client-4').io,
};

export const TRANSPORTS = {
  polling: ['polling'],
  websocket: ['websocket'],
  upgrade: undefined,
};

// Longest wait for what must come. What must not come is waited for by sending something behind it.
const WITHIN = 20_000;

const open = new Set();

// One connection, and all it was told.
export class Client {
  constructor(hub, { version = '4.8.4', transport = 'upgrade', reconnection = false } = {}) {
    const options = { forceNew: true, multiplex: false, reconnection, reconnectionDelay: 200, reconnectionDelayMax: 500 };
    if (TRANSPORTS[transport]) options.transports = TRANSPORTS[transport];
    this.what = `${version} by ${transport} at hub ${hub}`;
    this.lists = [];
    this.messages = [];
    this.errors = [];
    this.socket = GENERATIONS[version](HUBS[hub - 1], options);
    this.socket.on('update_client', (data) => this.lists.push(data));
    this.socket.on('im', (data) => this.messages.push(data));
    this.socket.on('connect_error', (error) => this.errors.push(error));
    open.add(this);
  }

  async connected() {
    await until(`${this.what} is connected`, () => this.socket.connected, () => this.errors.map(String));
    return this;
  }

  // As the original page does: its name follows each connect.
  async as(name) {
    const identify = () => this.socket.emit('identify', name);
    await this.connected();
    this.socket.on('connect', identify);
    identify();
    await this.sees(String(name));
    return this;
  }

  get list() {
    return this.lists.at(-1)?.list ?? [];
  }

  async sees(...names) {
    await until(`${this.what} sees ${names}`, () => names.every((name) => this.list.includes(name)), () => this.list);
  }

  async misses(...names) {
    await until(`${this.what} sees ${names} no more`, () => !names.some((name) => this.list.includes(name)), () => this.list);
  }

  say(from, to, text, more = {}) {
    this.socket.emit('im', { from, to, text, forwarded: false, ...more });
  }

  with(text) {
    return this.messages.filter((message) => message.text === text);
  }

  async gets(text) {
    await until(`${this.what} gets ${text}`, () => this.with(text).length > 0, () => this.messages);
    return this.with(text)[0];
  }

  transport() {
    return this.socket.io.engine.transport.name;
  }

  close() {
    open.delete(this);
    this.socket.close();
  }
}

export async function until(what, holds, seen = () => '') {
  const end = Date.now() + WITHIN;
  while (!holds()) {
    assert.ok(Date.now() < end, `${what}: not within ${WITHIN} ms; seen: ${JSON.stringify(seen())}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

// Has whoever started this do something to the hubs, and waits for it.
export async function please(order) {
  console.log(`!${order}`);
  const { value } = await lines.next();
  assert.equal(value, 'done');
}

export function closeAll() {
  [...open].forEach((client) => client.close());
}
