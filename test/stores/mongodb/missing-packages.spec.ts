import { describe, expect, it, jest } from '@jest/globals';

// This spec hides these packages. The entry point has to load without them, and a store has to
// name them as missing.
for (const name of ['mongodb', 'mongoose', '@nestjs/mongoose'])
  jest.unstable_mockModule(name, () => {
    throw new Error(`Cannot find package '${name}'`);
  });

const { mongoStore, mongooseStore } = await import('../../../lib/stores/mongodb/index.js');

describe('the entry point without the packages of MongoDB', () => {
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
