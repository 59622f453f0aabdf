import { Injectable, Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Locked, LockContext, LockModule } from '../../../lib/index.js';
import { typeOrmStore } from '../../../lib/stores/typeorm/index.js';

@Injectable()
@Locked('send-invoices', { wait: Infinity })
export class SendInvoices {
  readonly sent: string[] = [];

  async run(unsent: AsyncIterable<string>): Promise<void> {
    const lock = LockContext.current();
    for await (const invoice of unsent) {
      lock?.assertHeld();
      this.sent.push(invoice);
    }
  }
}

@Module({
  imports: [
    TypeOrmModule.forRootAsync({ useFactory: () => ({ type: 'postgres', url: process.env.DATABASE_URL }) }),
    LockModule.forRootAsync({
      useFactory: () => ({
        store: typeOrmStore(),
        ttl: '1m',
        enabled: process.env.LOCKS !== 'off',
        statusFile: process.env.LOCK_STATUS_FILE,
      }),
    }),
  ],
  providers: [SendInvoices],
})
export class AppModule {}
