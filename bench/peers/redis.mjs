import { once } from 'node:events';
import { connect } from 'node:net';
import { commandIn, debianPackage } from '../../test/servers/debian-packages.mjs';
import { freePort } from '../../test/servers/free-port.mjs';
import { installed } from '../../test/servers/installed-program.mjs';
import { startServer } from '../../test/servers/server-home.mjs';

/**
 * Starts the installed Redis, or the Redis of Debian 12 if none is installed. With `durable`,
 * every write is on the disk before Redis acknowledges it, as in a database.
 */
export const startRedis = ({ durable = false } = {}) =>
  startServer(durable ? 'redis-durable' : 'redis', async (home) => {
    const own = installed('redis-server');
    const command = own ? [own] : await unpacked(home);
    const port = await freePort();
    const settings = {
      port,
      bind: '127.0.0.1',
      dir: home.path,
      save: '',
      appendonly: durable ? 'yes' : 'no',
      appendfsync: 'always',
    };
    home.launch([
      ...command,
      ...Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value].map(String)),
    ]);
    const version = await home.answer(() => redisVersion(port));
    return { version, url: `redis://127.0.0.1:${port}` };
  });

async function unpacked(home) {
  const root = await home.readable(await debianPackage('bookworm', 'redis-server'));
  return commandIn(root, 'usr/bin/redis-server');
}

/**
 * Reads the version of Redis; throws while the server does not answer PING yet. It uses a
 * plain socket instead of a client.
 */
async function redisVersion(port) {
  if (!(await ask(port, 'PING')).startsWith('+PONG')) throw new Error('it is still loading');
  return /redis_version:(\S+)/.exec(await ask(port, 'INFO server'))[1];
}

async function ask(port, command) {
  const socket = connect(port, '127.0.0.1').setEncoding('utf8').setTimeout(5000);
  socket.once('timeout', () => socket.destroy(new Error('no answer within 5 s')));
  try {
    socket.write(`${command}\r\n`);
    const [answer] = await once(socket, 'data');
    return answer;
  } finally {
    socket.destroy();
  }
}
