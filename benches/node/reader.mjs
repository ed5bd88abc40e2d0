// What our reads are compared with: search-chat.php from MariaDB, in one Node process, as loop-server-fast does it. Per
// request three look-ups (session, forum, messages) over a pool of connections, nothing kept between requests, nothing written.
//
//   node reader.mjs PORT SOCKET CONNECTIONS     PORT 0: any; the port is printed in a line of its own
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import mysql from 'mysql2/promise';

const [port, socketPath, connections] = process.argv.slice(2);
const pool = mysql.createPool({
  socketPath,
  user: 'root',
  database: 'atomjump',
  connectionLimit: Number(connections),
  timezone: 'Z',
});

const SESSION = 'SELECT user_id, session_data FROM php_session WHERE session_id = ?';
const FORUM = 'SELECT int_layer_id, int_group_id, var_public_code FROM tbl_layer WHERE passcode = ?';
const MESSAGES = `SELECT int_ssshout_id, var_shouted_processed, date_when_shouted, var_whisper_to, int_whisper_to_id,
    var_ip, int_author_id
  FROM tbl_ssshout
  WHERE int_layer_id = ? AND enm_active = 'true'
    AND (var_whisper_to = '' OR ISNULL(var_whisper_to)
      OR (var_whisper_to = ? AND ISNULL(int_whisper_to_id)) OR int_whisper_to_id = ?
      OR (var_ip = ? AND ISNULL(int_author_id)) OR int_author_id = ?)
  ORDER BY date_when_shouted DESC, int_ssshout_id DESC LIMIT ?`;

// PHP's session format: key|i:5;key|s:3:"abc";
function decodeSession(text) {
  const session = {};
  const part = /([a-z-]+)\|(?:i:(-?\d+)|s:\d+:"(.*?)");/g;
  for (const [, key, number, string] of text.matchAll(part)) session[key] = number ?? string;
  return session;
}

const UNITS = [[31557600, 'year'], [2629743, 'month'], [604800, 'week'], [86400, 'day'], [3600, 'hour'], [60, 'min'], [1, 'sec']];

function ago(date, now) {
  const seconds = Math.max(0, Math.floor((now - date) / 1000));
  const [length, unit] = UNITS.find(([length]) => seconds >= length) ?? UNITS.at(-1);
  const count = Math.round(seconds / length);
  return `${count} ${unit}${count > 1 ? 's' : ''} ago`;
}

async function read(parameters) {
  const id = parameters.get('sessionId');
  const [sessions] = await pool.query(SESSION, [id]);
  if (sessions.length === 0) return undefined;
  const session = decodeSession(sessions[0].session_data);
  const passcode = createHash('md5').update(parameters.get('passcode')).digest('hex');
  const [forums] = await pool.query(FORUM, [passcode]);
  if (forums.length === 0) return undefined;
  const [me, ip, records] = [Number(session['logged-user']), session['user-ip'], Number(parameters.get('records'))];
  const [rows] = await pool.query(MESSAGES, [forums[0].int_layer_id, ip, me, ip, me, Math.max(100, records)]);
  const now = Date.now();
  const res = rows.slice(0, records + 1).map((row) => ({
    id: row.int_ssshout_id,
    text: row.var_shouted_processed,
    ago: ago(row.date_when_shouted, now),
    whisper: Boolean(row.var_whisper_to) && (row.int_whisper_to_id === me || row.int_author_id === me),
  }));
  return { res, ses: id };
}

const server = createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost');
  try {
    const answer = pathname === '/search-chat.php' ? await read(searchParams) : undefined;
    if (answer === undefined) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { 'content-type': 'text/html' });
    response.end(`${searchParams.get('callback')}(${JSON.stringify(answer)})`);
  } catch (error) {
    response.writeHead(500).end(String(error));
  }
});
server.keepAliveTimeout = 60_000;
server.listen(Number(port), '127.0.0.1', () => console.log(server.address().port));
