import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { Injectable, Module, type Type } from '@nestjs/common';
import { LazyModuleLoader } from '@nestjs/core';
import { Cron, ScheduleModule } from '@nestjs/schedule';
import { Locked, LockModule } from '../../lib/index.js';
import { logs, start } from './applications.js';
import { RecordingStore } from './recording-store.js';

/**
 * Makes a class of this name with two locked methods: one has the default key, the other its
 * own key.
 */
function named(name: string): Type<{ tick(): Promise<string> }> {
  @Injectable()
  class Jobs {
    @Locked()
    async tick(): Promise<string> {
      return 'ran';
    }

    @Locked('report')
    async report(): Promise<void> {}
  }
  Object.defineProperty(Jobs, 'name', { value: name });
  return Jobs;
}

const warningsOf = (): string[] => logs.of('warn').filter((line) => line.includes('A minifier seems'));

describe('class names that a minifier has changed', () => {
  it.each(['o', 't1', '_a', '$', 'Ab', 'e3f', 'class_1', '_class', '_class2', 'default_1'])(
    'E8 for a class with the minified name %s, a warning at start names its method',
    async (name) => {
      await start({
        imports: [LockModule.forRoot({ store: new RecordingStore() })],
        providers: [named(name)],
      });
      expect(warningsOf()).toEqual([
        expect.stringMatching(/^A minifier seems to have changed .*@Locked\('…'\)/),
      ]);
      expect(warningsOf()[0]).toContain(`${name}.tick`);
      expect(warningsOf()[0]).not.toContain('report');
    },
  );

  it.each(['Job', 'Api', 'Jobs', 'DefaultJobs', 'ClassRoom', 'Sms'])(
    'E8 for a class with the name %s, no warning comes at start',
    async (name) => {
      await start({
        imports: [LockModule.forRoot({ store: new RecordingStore() })],
        providers: [named(name)],
      });
      expect(warningsOf()).toEqual([]);
    },
  );

  it('E8 one warning names all methods of minified classes', async () => {
    await start({
      imports: [LockModule.forRoot({ store: new RecordingStore() })],
      providers: [named('o'), named('t')],
    });
    expect(warningsOf()).toHaveLength(1);
    expect(warningsOf()[0]).toContain('o.tick, t.tick');
  });
});

it('E8 a warning comes if the ticks of a method are kept under a minified name, even if it has a key', async () => {
  @Injectable()
  class Jobs {
    @Cron('0 0 1 1 *')
    @Locked('report')
    async report(): Promise<void> {}

    @Cron('0 0 1 1 *')
    @Locked('mail', { once: false })
    async mail(): Promise<void> {}
  }
  Object.defineProperty(Jobs, 'name', { value: 'o' });
  await start({
    imports: [LockModule.forRoot({ store: new RecordingStore() }), ScheduleModule.forRoot()],
    providers: [Jobs],
  });
  expect(warningsOf()).toEqual([expect.stringContaining('keeps their ticks under these names')]);
  expect(warningsOf()[0]).toContain(': o.report.');
});

describe('requireKeys', () => {
  it('E8 requireKeys refuses a default key at start', async () => {
    const starting = start({
      imports: [LockModule.forRoot({ store: new RecordingStore(), requireKeys: true })],
      providers: [named('Jobs')],
    });
    await expect(starting).rejects.toThrow(
      "@Locked() on Jobs.tick has no key, and LockModule has the option requireKeys. Give it one: @Locked('…').",
    );
  });

  it('E8 requireKeys refuses a default key even in modules that are loaded after the start', async () => {
    const Jobs = named('Jobs');
    @Module({ providers: [Jobs] })
    class Late {}
    const app = await start({
      imports: [LockModule.forRoot({ store: new RecordingStore(), requireKeys: true })],
    });
    const late = await app.get(LazyModuleLoader).load(() => Late);

    await expect(late.get(Jobs).tick()).rejects.toThrow('requireKeys');
  });

  it('E8 requireKeys accepts methods with keys, whatever the class name', async () => {
    @Injectable()
    class Reports {
      @Locked('report')
      async report(): Promise<string> {
        return 'ran';
      }
    }
    Object.defineProperty(Reports, 'name', { value: 'o' });
    const app = await start({
      imports: [LockModule.forRoot({ store: new RecordingStore(), requireKeys: true })],
      providers: [Reports],
    });
    expect(await app.get(Reports).report()).toBe('ran');
    expect(warningsOf()).toEqual([]);
  });

  it('E8 requireKeys must be true or false', async () => {
    const starting = start({
      imports: [LockModule.forRoot({ store: new RecordingStore(), requireKeys: 'yes' as never })],
    });
    await expect(starting).rejects.toThrow('The option "requireKeys" of LockModule must be true or false');
  });
});
