import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { Injectable } from '@nestjs/common';
import { Cron, Interval, ScheduleModule, SchedulerRegistry } from '@nestjs/schedule';
import { Locked, LockContext, LockModule } from '../../lib/index.js';
import { logs, start, startError } from './applications.js';
import { RecordingStore } from './recording-store.js';

const NEVER = '0 0 1 1 *';

describe('@Locked() on a class', () => {
  it('B66 @Locked() on a class locks each method that the scheduler calls, and no other', async () => {
    @Injectable()
    @Locked()
    class Reports {
      readonly locks: (string | undefined)[] = [];

      @Cron(NEVER, { name: 'daily' })
      async daily(): Promise<void> {
        this.locks.push(LockContext.current()?.key);
      }

      @Interval(1e9)
      async often(): Promise<void> {
        this.locks.push(LockContext.current()?.key);
      }

      async other(): Promise<void> {
        this.locks.push(LockContext.current()?.key);
      }
    }
    const app = await start({
      imports: [LockModule.forRoot({ store: new RecordingStore() }), ScheduleModule.forRoot()],
      providers: [Reports],
    });
    const reports = app.get(Reports);
    await app.get(SchedulerRegistry).getCronJob('daily').fireOnTick();
    await reports.often();
    await reports.other();
    expect(reports.locks).toEqual(['Reports.daily', 'Reports.often', undefined]);
    expect(logs.of('log')).toEqual([
      expect.stringContaining(
        '2 locked methods: Reports.daily (skip, once per tick), Reports.often (skip, once per interval)',
      ),
    ]);
  });

  it('B66 @Locked() on a class locks inherited methods under the name of the class', async () => {
    class Base {
      lock: string | undefined;
      @Cron(NEVER, { name: 'inherited' })
      async daily(): Promise<void> {
        this.lock = LockContext.current()?.key;
      }
    }
    @Injectable()
    @Locked({ ttl: '10s' })
    class Monthly extends Base {}
    @Injectable()
    class Unlocked extends Base {}

    const app = await start({
      imports: [LockModule.forRoot({ store: new RecordingStore() })],
      providers: [Monthly, Unlocked],
    });
    await app.get(Monthly).daily();
    await app.get(Unlocked).daily();
    expect([app.get(Monthly).lock, app.get(Unlocked).lock]).toEqual(['Monthly.daily', undefined]);
  });

  it('B66 @Locked() on a command class locks its run() method', async () => {
    @Injectable()
    @Locked('import')
    class ImportCommand {
      async run(files: string[]): Promise<string> {
        return `${files.join()} under ${LockContext.current()?.key}`;
      }
    }
    const app = await start({
      imports: [LockModule.forRoot({ store: new RecordingStore() })],
      providers: [ImportCommand],
    });
    expect(await app.get(ImportCommand).run(['a', 'b'])).toBe('a,b under import');
  });

  it('B66 @Locked() on a class leaves methods with their own @Locked() unchanged', async () => {
    @Injectable()
    @Locked('class')
    class Reports {
      @Cron(NEVER)
      @Locked('method')
      async daily(): Promise<string | undefined> {
        return LockContext.current()?.key;
      }

      @Cron(NEVER)
      async weekly(): Promise<string | undefined> {
        return LockContext.current()?.key;
      }
    }
    const app = await start({
      imports: [LockModule.forRoot({ store: new RecordingStore() })],
      providers: [Reports],
    });
    expect([await app.get(Reports).daily(), await app.get(Reports).weekly()]).toEqual(['method', 'class']);
  });

  it('B66 the options of @Locked() on a class are checked at start', async () => {
    @Injectable()
    @Locked({ renewEvery: '25s' })
    class Reports {
      async run(): Promise<void> {}
    }
    const error = await startError({
      imports: [LockModule.forRoot({ store: new RecordingStore(), ttl: '20s' })],
      providers: [Reports],
    });
    expect(error.message).toContain('"renewEvery" of @Locked() on Reports.run');
  });

  it('B39 with reentrant: true, a locked method can call the locked method that it overrides under one lock', async () => {
    const seen: (number | undefined)[] = [];
    abstract class Import {
      @Locked({ reentrant: true })
      async run(): Promise<void> {
        seen.push(LockContext.current()?.fencingToken);
      }
    }
    @Injectable()
    class CsvImport extends Import {
      @Locked()
      override async run(): Promise<void> {
        seen.push(LockContext.current()?.fencingToken);
        await super.run();
      }
    }
    const store = new RecordingStore();
    const app = await start({ imports: [LockModule.forRoot({ store })], providers: [CsvImport] });
    await app.get(CsvImport).run();
    expect(seen).toEqual([expect.any(Number), seen[0]]);
    expect(store.calls).toEqual(['acquire CsvImport.run', 'release CsvImport.run']);
  });

  it('B66 a second @Locked() on a class is refused when the class is defined, since it would change nothing', () => {
    class Nightly {
      @Cron(NEVER)
      async daily(): Promise<void> {}
    }
    Locked('inner')(Nightly);
    expect(() => Locked('outer')(Nightly)).toThrow('@Locked() on the class Nightly would change nothing');
  });

  it('B66 @Locked() on a class without a method to lock is refused when the class is defined', () => {
    expect(() => {
      @Locked()
      class Helper {
        async help(): Promise<void> {}
      }
      return Helper;
    }).toThrow('@Locked() on the class Helper finds nothing to lock');
  });
});
