import { Injectable, Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Locked, LockContext, LockModule } from '../../../lib/index.js';
import { typeOrmStore } from '../../../lib/stores/typeorm/index.js';

@Injectable()
export class Imports {
  readonly loaded: string[] = [];

  @Locked('import', { onBusy: 'skip' })
  async importAll(files: AsyncIterable<string>): Promise<number> {
    const lock = LockContext.current();
    for await (const file of files) {
      lock?.assertHeld();
      this.loaded.push(file);
    }
    return this.loaded.length;
  }

  @Locked({ key: (userId: string) => `user:${userId}`, wait: Infinity, module: 'weak' })
  async refresh(userId: string): Promise<string> {
    return `the cache of ${userId} is filled`;
  }
}

@Module({
  imports: [
    TypeOrmModule.forRootAsync({ useFactory: () => ({ type: 'postgres', url: process.env.DATABASE_URL }) }),
    LockModule.forRoot({ store: typeOrmStore(), purge: { olderThan: '30d' } }),
    LockModule.forRoot({ name: 'weak', store: typeOrmStore({ weak: true }) }),
  ],
  providers: [Imports],
})
export class AppModule {}
