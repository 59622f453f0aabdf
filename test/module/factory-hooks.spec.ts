import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { Module, type OnModuleInit } from '@nestjs/common';
import { Locked, LockModule } from '../../lib/index.js';
import { start } from './applications.js';
import { RecordingStore } from './recording-store.js';

// Nest 10 calls the hooks of modules at the same distance from the root in the order of their
// imports, so LockModule has to be imported first there.
describe('@Locked() on objects of a factory', () => {
  class Report {
    @Locked()
    async build(): Promise<string> {
      return 'built';
    }
  }

  it("B68 a locked method of a factory's object works in the hooks of other modules", async () => {
    const built: string[] = [];

    @Module({ providers: [{ provide: Report, useFactory: () => new Report() }] })
    class Reports implements OnModuleInit {
      constructor(private readonly report: Report) {}
      async onModuleInit(): Promise<void> {
        built.push(await this.report.build());
      }
    }

    const store = new RecordingStore();
    await start({ imports: [Reports, LockModule.forRoot({ store })] });
    expect(built).toEqual(['built']);
    expect(store.calls).toEqual(['acquire Report.build', 'release Report.build']);
  });
});
