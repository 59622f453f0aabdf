import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';

/**
 * Reads the meter at METER_URL. Without this variable, a reading takes a quarter of a second.
 */
@Injectable()
export class Meter {
  async read(signal: AbortSignal): Promise<number> {
    const url = process.env.METER_URL;
    if (!url) return sleep(250, 5, { signal });
    const answer = await fetch(url, { signal });
    return Number(await answer.text());
  }
}
