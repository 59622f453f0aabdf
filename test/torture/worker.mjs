// One worker of the torture: an application in its own process, which uses the built package.
// argv: the settings of the worker as JSON.
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { LockModule, LockService } from 'nestjs-locked';
import { Crowd } from './crowd.mjs';
import { planted } from './planted-bugs.mjs';
import { POLL, TTL } from './terms.mjs';
import { Work } from './work.mjs';
import { WorkRecord } from './work-record.mjs';

/**
 * The exit code if the database cannot be reached. The parent then starts the worker again.
 */
const TRY_AGAIN = 75;
const IMPATIENCE = 3_000;

const settings = JSON.parse(process.argv[2]);
const record = new WorkRecord(settings.recordFile);
process.on('unhandledRejection', (error) =>
  record.add('unhandled', { error: String(error?.stack ?? error) }),
);
process.on('uncaughtException', (error) => {
  record.add('unhandled', { error: String(error?.stack ?? error) });
  process.exit(70);
});
process.on('warning', ({ name, message }) => {
  if (name === 'MaxListenersExceededWarning') record.add('unhandled', { error: message });
});
// The parent has ended, so this process ends at once, too.
process.once('disconnect', () => process.kill(process.pid, 'SIGKILL'));

const { connect } = await import(
  settings.database === 'mongodb' ? './connect-mongodb.mjs' : './connect-sql.mjs'
);
const bug = planted(settings.bug);

async function start() {
  const { imports, store, ledgerOf, close } = await connect(settings);
  const app = await NestFactory.createApplicationContext(
    {
      module: class WorkerModule {},
      imports: [
        ...imports,
        LockModule.forRoot({
          store: await bug.plant(store),
          ttl: TTL,
          retry: { min: 20, max: POLL },
          label: settings.name,
        }),
      ],
    },
    { logger: false, abortOnError: false },
  );
  return { locks: app.get(LockService), ledger: ledgerOf(app), close: () => app.close().then(close) };
}

try {
  const { locks, ledger, close } = await start();
  const work = new Work({ locks, ledger, record, bug, id: settings.id });
  process.on('message', (request) => work.answer(request));
  const crowd = new Crowd({ locks, record, bug, id: settings.id, callers: settings.callers });
  const working = Promise.all([work.repeat(), crowd.repeat()]);
  const end = async () => {
    work.end();
    crowd.end();
    await working;
    await close();
    process.removeAllListeners('disconnect').disconnect();
    // From here on, nothing should keep the process alive. If something does, it is recorded
    // after three seconds.
    setTimeout(() => record.add('lingering', { by: process.getActiveResourcesInfo() }), IMPATIENCE).unref();
  };
  process.once('SIGTERM', () => void end());
  process.send({ event: 'ready' });
} catch (error) {
  record.add('notStarted', { error: `${error.name}: ${error.message}` });
  process.exit(TRY_AGAIN);
}
