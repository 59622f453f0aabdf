import { Controller, Get, Param, Post } from '@nestjs/common';
import { PricesService } from './prices.service.js';
import type { PriceList } from './suppliers.js';

@Controller('suppliers/:supplier')
export class PricesController {
  constructor(private readonly prices: PricesService) {}

  @Get('prices')
  async find(@Param('supplier') supplier: string): Promise<PriceList> {
    return this.prices.find(supplier);
  }

  @Post('import')
  async import(@Param('supplier') supplier: string): Promise<PriceList> {
    await this.prices.import(supplier);
    return this.prices.find(supplier);
  }
}
