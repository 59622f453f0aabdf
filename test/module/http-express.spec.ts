import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { httpCases } from './http-cases.js';

httpCases('Express', (module, options) => NestFactory.create(module, new ExpressAdapter(), options));
