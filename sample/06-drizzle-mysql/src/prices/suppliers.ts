import { BadGatewayException, Injectable } from '@nestjs/common';
import { setTimeout as work } from 'node:timers/promises';

/** The price of each article in cents. */
export type PriceList = Record<string, number>;

/**
 * Calls the suppliers at SUPPLIERS_URL. Without this variable, a list takes ten seconds and
 * has random prices.
 */
@Injectable()
export class Suppliers {
  async priceList(supplier: string, signal: AbortSignal): Promise<PriceList> {
    const url = process.env.SUPPLIERS_URL;
    if (!url) {
      // The signal does not end this work, since the guard refuses a list that comes too late.
      await work(10_000);
      return { apple: cents(), pear: cents() };
    }
    const answer = await fetch(`${url}/${encodeURIComponent(supplier)}`, { signal });
    if (!answer.ok) throw new BadGatewayException(`The supplier ${supplier} gave no list.`);
    return (await answer.json()) as PriceList;
  }
}

function cents(): number {
  return 1 + Math.floor(Math.random() * 500);
}
