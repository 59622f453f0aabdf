import { jest } from '@jest/globals';
import * as common from '@nestjs/common';
import * as core from '@nestjs/core';
import * as injector from '@nestjs/core/injector/injector.js';
import * as exceptions from '@nestjs/core/errors/exceptions/unknown-dependencies.exception.js';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import type { TransactionHost as Host } from '@nestjs-cls/transactional';
import type { TransactionalAdapterTypeOrm as Adapter } from '@nestjs-cls/transactional-adapter-typeorm';
import { itLocksOutsideOfTransactions } from './transactional.cases.js';

// nestjs-cls and its plugin load Nest with require(), which jest cannot do because Nest's
// modules are ES modules. The mocks give them the modules that this spec imports.
jest.mock('@nestjs/common', () => common);
jest.mock('@nestjs/core', () => core);
jest.mock('@nestjs/core/injector/injector', () => injector);
jest.mock('@nestjs/core/errors/exceptions/unknown-dependencies.exception', () => exceptions);
const { ClsModule } = await import('nestjs-cls');
const { ClsPluginTransactional, Propagation, Transactional, TransactionHost } =
  await import('@nestjs-cls/transactional');
const { TransactionalAdapterTypeOrm } = await import('@nestjs-cls/transactional-adapter-typeorm');
const { AppModule, Counter, Counters } = await import('./examples/nestjs-cls.js');

itLocksOutsideOfTransactions({
  name: 'nestjs-cls',
  Transactional: () => Transactional(),
  NotTransactional: () => Transactional(Propagation.NotSupported),
  imports: (options) => [
    TypeOrmModule.forRoot(options),
    ClsModule.forRoot({
      plugins: [
        new ClsPluginTransactional({
          imports: [TypeOrmModule],
          adapter: new TransactionalAdapterTypeOrm({ dataSourceToken: getDataSourceToken() }),
        }),
      ],
    }),
  ],
  source: TransactionHost,
  managerOf: (host: Host<Adapter>) => host.tx,
  Counter,
  Counters,
  AppModule,
  example: 'test/transactional/examples/nestjs-cls.ts',
});
