import { Module, type OnApplicationShutdown } from '@nestjs/common';
import { Db, MongoClient } from 'mongodb';

const url = process.env.MONGODB_URL ?? 'mongodb://127.0.0.1:27017/billing?replicaSet=rs0';

@Module({
  providers: [
    { provide: MongoClient, useFactory: async () => new MongoClient(url).connect() },
    {
      provide: Db,
      inject: [MongoClient],
      // If MONGODB_DATABASE is not set, the driver uses the database in the URL.
      useFactory: (client: MongoClient) => client.db(process.env.MONGODB_DATABASE),
    },
  ],
  exports: [Db],
})
export class MongoModule implements OnApplicationShutdown {
  constructor(private readonly client: MongoClient) {}

  /**
   * Closes the client in the last hook of the shutdown. Before that hook, the job has ended
   * and released its lock.
   */
  async onApplicationShutdown(): Promise<void> {
    await this.client.close();
  }
}
