import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { PrismaPg } from '@prisma/adapter-pg';
import { PrismaClient } from '../generated/prisma/client.js';

@Injectable()
export class PrismaService extends PrismaClient implements OnApplicationShutdown {
  constructor() {
    super({ adapter: new PrismaPg({ connectionString: process.env.DATABASE_URL }) });
  }

  /**
   * Disconnects in the last hook of the shutdown. Before that hook, the work under locks has
   * ended, and the locks are released.
   */
  async onApplicationShutdown(): Promise<void> {
    await this.$disconnect();
  }
}
