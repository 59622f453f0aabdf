import { Injectable, Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { readFile } from 'node:fs/promises';
import { LockModule, LockService } from '../../../lib/index.js';
import { typeOrmSessionStore } from '../../../lib/stores/typeorm/index.js';

@Injectable()
export class Importer {
  constructor(private readonly locks: LockService) {}

  async import(files: string[]): Promise<string[] | null> {
    const load = (signal: AbortSignal) =>
      Promise.all(files.map((file) => readFile(file, { encoding: 'utf8', signal })));
    const result = await this.locks.tryRun('import', ({ signal }) => load(signal), { wait: '10s' });
    return result.acquired ? result.value : null;
  }
}

@Module({
  imports: [
    TypeOrmModule.forRootAsync({ useFactory: () => ({ type: 'mysql', url: process.env.DATABASE_URL }) }),
    LockModule.forRoot({ store: typeOrmSessionStore() }),
  ],
  providers: [Importer],
})
export class AppModule {}
