import { Module } from '@nestjs/common';
import { PricesController } from './prices.controller.js';
import { PricesService } from './prices.service.js';
import { Suppliers } from './suppliers.js';

@Module({ controllers: [PricesController], providers: [PricesService, Suppliers] })
export class PricesModule {}
