import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { Controller, Get, Injectable, UseInterceptors } from '@nestjs/common';
import { Interval, ScheduleModule } from '@nestjs/schedule';
import { Locked, LockError, LockInterceptor, LockNotAcquiredError } from '../../lib/index.js';
import { errorOf } from '../core/core-fixture.js';
import { platforms, startHttp } from './support/applications.js';

// Milliseconds. The timer never fires in these tests, which call the scheduled method
// themselves.
const NEVER = 2_000_000_000;

@Injectable()
class Reports {
  @Locked('report')
  async around<T>(work: () => Promise<T>): Promise<T> {
    return work();
  }

  @Locked('report', { wait: Infinity })
  async waits(): Promise<string> {
    return 'inner';
  }

  @Locked('report', { wait: Infinity, onBusy: 'skip' })
  async waitsAndSkips(): Promise<string> {
    return 'inner';
  }

  @Locked('report', { wait: Infinity, onBusy: () => 'called back' })
  async waitsAndCallsBack(): Promise<string> {
    return 'inner';
  }

  @Interval(NEVER)
  @Locked('report')
  async scheduled(): Promise<string> {
    return 'inner';
  }

  @Locked('report', { onBusy: (error) => `nested: ${error.nested}` })
  async callsBack(): Promise<string> {
    return 'inner';
  }

  @Locked('report', { reentrant: true, wait: Infinity })
  async reenters(): Promise<string> {
    return 'inner';
  }
}

describe.each(platforms.slice(0, 1))('handlers inside a run that holds their key, %s', (_, adapter) => {
  const start = () =>
    startHttp(adapter(), { imports: [ScheduleModule.forRoot()], providers: [Reports], controllers: [] });

  it('B89 a nested locked method that would wait for its own caller fails at once, whatever onBusy says', async () => {
    const app = await start();
    const reports = app.app.get(Reports);
    for (const method of ['waits', 'waitsAndSkips', 'waitsAndCallsBack'] as const) {
      const error = await errorOf(reports.around(() => reports[method]()));
      expect(error).toBeInstanceOf(LockError);
      expect(error).not.toBeInstanceOf(LockNotAcquiredError);
      expect(error).toMatchObject({ message: expect.stringContaining('reentrant: true') });
    }
  });

  it('B64 a scheduled method called under its own lock throws and does not skip, since it could never run', async () => {
    const app = await start();
    const reports = app.app.get(Reports);
    const error = await errorOf(reports.around(() => reports.scheduled()));
    expect(error).toBeInstanceOf(LockNotAcquiredError);
    expect(error).toMatchObject({ nested: true, message: expect.stringContaining('reentrant: true') });
    expect(await reports.around(() => reports.callsBack())).toBe('nested: true');
  });

  it('B89 a nested locked method with reentrant: true runs under the lock of its caller', async () => {
    const app = await start();
    const reports = app.app.get(Reports);
    expect(await reports.around(() => reports.reenters())).toBe('inner');
    expect(
      await reports.around(() => app.locks.run('report', () => reports.reenters(), { reentrant: true })),
    ).toBe('inner');
  });

  it('B89 a nested interceptor with the same key answers with an error at once', async () => {
    @Controller('orders')
    @UseInterceptors(LockInterceptor('orders'))
    class Orders {
      @Get('twice')
      @UseInterceptors(LockInterceptor('orders', { wait: Infinity }))
      twice(): string {
        return 'inner';
      }

      @Get('once')
      once(): string {
        return 'inner';
      }
    }
    const app = await startHttp(adapter(), { controllers: [Orders] });
    expect((await app.get('/orders/twice')).status).toBe(500);
    expect(await (await app.get('/orders/once')).text()).toBe('inner');
    expect(app.events.filter((event) => event === 'acquired')).toHaveLength(2);
  });
});
