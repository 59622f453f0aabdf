import { Module } from '@nestjs/common';
import { MongooseModule } from '@nestjs/mongoose';
import { LockModule } from 'nestjs-locked';
import { mongooseStore } from 'nestjs-locked/mongodb';
import { ShowsModule } from './shows/shows.module.js';

const url = process.env.MONGODB_URL ?? 'mongodb://127.0.0.1:27017/theatre';

@Module({
  imports: [
    // If MONGODB_DATABASE is not set, Mongoose uses the database in the URL.
    MongooseModule.forRoot(url, { dbName: process.env.MONGODB_DATABASE }),
    LockModule.forRoot({ store: mongooseStore() }),
    ShowsModule,
  ],
})
export class AppModule {}
