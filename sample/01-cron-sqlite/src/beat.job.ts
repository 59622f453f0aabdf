import { Injectable } from '@nestjs/common';
import { Cron } from '@nestjs/schedule';
import { Locked } from 'nestjs-locked';
import { DemoLink } from './demo-link.js';

/**
 * A job that is done before the timers of the other instances fire: each of them finds the
 * lock free, and the tick done.
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
