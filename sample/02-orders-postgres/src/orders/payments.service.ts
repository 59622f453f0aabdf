import { Injectable, ServiceUnavailableException } from '@nestjs/common';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Order } from './order.entity.js';

/**
 * Calls the payment provider at PAYMENTS_URL. Without this variable, a payment takes one
 * second and calls no provider.
 */
@Injectable()
export class Payments {
  async charge({ id, amount }: Order, signal: AbortSignal): Promise<void> {
    const url = process.env.PAYMENTS_URL;
    if (!url) return sleep(1000, undefined, { signal });
    const answer = await fetch(url, { method: 'POST', body: JSON.stringify({ id, amount }), signal });
    if (!answer.ok) throw new ServiceUnavailableException('The payment provider refused.');
  }
}
