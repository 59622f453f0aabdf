import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { httpCases } from './http-cases.js';

httpCases('Fastify', (module, options) => NestFactory.create(module, new FastifyAdapter(), options));
