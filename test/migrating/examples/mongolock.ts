import { Injectable, Module } from '@nestjs/common';
import { Locked, LockContext, LockModule } from '../../../lib/index.js';
import { mongoStore } from '../../../lib/stores/mongodb/index.js';

@Injectable()
export class NightlyReport {
  readonly saved: string[] = [];

  @Locked('nightly-report', { wait: '10s', onBusy: () => console.log('the report is written elsewhere') })
  async write(pages: AsyncIterable<string>): Promise<number> {
    const lock = LockContext.current();
    let written = 0;
    for await (const page of pages) {
      lock?.assertHeld();
      this.saved.push(page);
      written++;
    }
    return written;
  }
}

@Module({
  imports: [
    LockModule.forRootAsync({
      useFactory: () => ({ store: mongoStore({ url: process.env.MONGO_URL ?? '' }) }),
    }),
  ],
  providers: [NightlyReport],
})
export class AppModule {}
