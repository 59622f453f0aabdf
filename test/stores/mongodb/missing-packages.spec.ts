import { describe, expect, it, jest } from '@jest/globals';

// None of them is there in this file: the entry has to load all the same, and to say what it lacks when it is used.
for (const name of ['mongodb', 'mongoose', '@nestjs/mongoose'])
  jest.unstable_mockModule(name, () => {
    throw new Error(`Cannot find package '${name}'`);
  });

const { mongoStore, mongooseStore } = await import('../../../lib/stores/mongodb/index.js');

describe('without the packages of MongoDB', () => {
  it('B9 a store names the packages to install', async () => {
    const own: any = await mongoStore({ url: 'mongodb://localhost/app' }).useFactory();
    await expect(own.prepare()).rejects.toThrow(
      /mongoStore\(\{ url \}\) needs the package mongodb.*npm install mongodb/,
    );
    const shared: any = await mongooseStore().useFactory({ get: () => undefined });
    await expect(shared.prepare()).rejects.toThrow(
      /needs the package @nestjs\/mongoose.*npm install mongoose @nestjs\/mongoose/,
    );
  });
});
