import { Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { InjectDataSource } from '@nestjs/typeorm';
import { LockService } from 'nestjs-locked';
import { DataSource, LessThanOrEqual } from 'typeorm';
import { Report } from './report.entity.js';
import { Run } from './run.entity.js';

const NOW = (): string => `CAST(round(unixepoch('subsec') * 1000) AS INTEGER)`;

@Injectable()
export class Reports implements OnModuleInit {
  private readonly logger = new Logger(Reports.name);

  constructor(
    @InjectDataSource() private readonly db: DataSource,
    private readonly locks: LockService,
  ) {}

  async onModuleInit(): Promise<void> {
    await this.db
      .createQueryBuilder()
      .insert()
      .into(Report)
      .values({ id: 1, edition: 0, fence: 0 })
      .orIgnore()
      .execute();
    this.locks.events.on('lost', ({ fencingToken }) => {
      const logged = this.db.manager.update(Run, fencingToken, { lost: true });
      logged.catch((error: unknown) => this.logger.error(error));
    });
  }

  /** Notes that a run begins, and returns the number of the present edition. */
  async begin(token: number): Promise<number> {
    const instance = process.env.INSTANCE ?? `pid ${process.pid}`;
    await this.db.manager.insert(Run, { token, instance, started: NOW });
    const { edition } = await this.db.manager.findOneByOrFail(Report, { id: 1 });
    return edition;
  }

  /** Publishes an edition, unless a holder with a newer token has published meanwhile. */
  async publish(edition: number, token: number): Promise<void> {
    await this.db.transaction(async (db) => {
      // The transaction begins with the write. If it read a row first, and another process
      // then changed the row, SQLite would refuse the write.
      const { affected } = await db.update(
        Report,
        { id: 1, fence: LessThanOrEqual(token) },
        { edition, fence: token },
      );
      const accepted = affected === 1;
      await db.update(Run, token, { ended: NOW, accepted });
      if (!accepted) this.logger.warn(`Edition ${edition} was refused: token ${token} is not the newest.`);
    });
  }
}
