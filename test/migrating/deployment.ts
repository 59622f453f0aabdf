import 'reflect-metadata';
import type { DynamicModule, INestApplicationContext, ModuleMetadata, Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { LockModule, LockService, type LockModuleExtras, type LockModuleOptions } from '../../lib/index.js';
import { rootModule } from '../module/applications.js';

/** The instances of an application in one process; `close()` closes all of them. */
export class Deployment {
  private readonly applications: INestApplicationContext[] = [];

  /**
   * @param imports the modules of each instance besides its `LockModule`, such as its
   * connection to the database
   */
  constructor(private readonly imports: () => DynamicModule[] = () => []) {}

  async start(metadata: ModuleMetadata | Type): Promise<INestApplicationContext> {
    const root = typeof metadata === 'function' ? metadata : rootModule(metadata);
    const application = await NestFactory.createApplicationContext(root, {
      logger: false,
      abortOnError: false,
    });
    this.applications.push(application);
    return application;
  }

  /** Starts an instance with these options of its `LockModule`, and with these providers. */
  async instance(
    options: LockModuleOptions & LockModuleExtras,
    ...providers: Type[]
  ): Promise<INestApplicationContext> {
    return this.start({ imports: [...this.imports(), LockModule.forRoot(options)], providers });
  }

  async locks(options: LockModuleOptions): Promise<LockService> {
    return (await this.instance(options)).get(LockService);
  }

  async close(): Promise<void> {
    for (const application of this.applications.splice(0).toReversed()) await application.close();
  }
}

/** Returns the error with which a promise rejects. */
export async function errorOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('It did not fail.');
}
