import { Injectable } from '@nestjs/common';
import { Cron } from '@nestjs/schedule';
import { Locked } from 'nestjs-locked';
import { DemoLink } from './demo-link.js';

/**
 * A job that ends before the timers of the other instances fire. They find the lock free, but
 * the job runs once per tick, and this tick has already run.
 */
@Injectable()
export class BeatJob {
  constructor(private readonly demo: DemoLink) {}

  @Cron('* * * * * *')
  @Locked()
  async beat(): Promise<void> {
    this.demo.beat();
  }
}
