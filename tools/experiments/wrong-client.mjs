// A client with a wrong clock for the experiment with clocks. Its process was started under
// that clock: `node wrong-client.mjs URL KEY`.
import { setTimeout as sleep } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import { connect } from './databases.mjs';

Logger.overrideLogger(false); // Logs are turned off, so that stdout has only the answer.
const [url, key] = process.argv.slice(2);
const application = await connect(url);
const { locks } = application;
const refused = (await locks.tryAcquire(`${key}-occupied`)) === null;
const lock = await locks.acquire(key, { renewEvery: 300 });
const { holder } = await locks.admin.inspect(key);
await sleep(1_000);
const heldOn = lock.held;
const released = await lock.release();
console.log(
  JSON.stringify({
    now: Date.now(),
    refused,
    token: lock.fencingToken,
    remaining: holder.remaining,
    heldOn,
    released,
  }),
);
await application.close();
