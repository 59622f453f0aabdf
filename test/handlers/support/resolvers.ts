import { ExternalContextCreator } from '@nestjs/core';
import { platforms, startHttp, type Running } from './applications.js';

/**
 * Starts an application, and returns a function that calls its resolver as @nestjs/graphql
 * does.
 */
export async function startResolver<Resolver extends object>(
  type: new () => Resolver,
  name: keyof Resolver & string,
  context = 'graphql',
): Promise<{ running: Running; resolve: (args?: object) => Promise<unknown> }> {
  const running = await startHttp(platforms[0]![1](), { providers: [type] });
  const resolver = running.app.get(type);
  const method = resolver[name] as (...args: unknown[]) => unknown;
  const none = undefined;
  const creator = running.app.get(ExternalContextCreator);
  const resolve = creator.create(resolver, method, name, none, none, none, none, none, context);
  return { running, resolve: async (args = {}) => resolve({}, args, {}, {}) };
}
