import {
  Body,
  Controller,
  Delete,
  Get,
  Param,
  ParseIntPipe,
  Post,
  UseInterceptors,
  type ExecutionContext,
} from '@nestjs/common';
import { LockInterceptor } from 'nestjs-locked';
import { Order } from './order.entity.js';
import { OrdersService } from './orders.service.js';

// OrdersService.pay has the same key, so that no order is cancelled while it is being paid.
// The key contains the id as a number, so that the routes for 7 and 07 have one lock.
const orderKey = (context: ExecutionContext): string =>
  `order:${Number(context.switchToHttp().getRequest<{ params: { id: string } }>().params.id)}`;

@Controller('orders')
export class OrdersController {
  constructor(private readonly orders: OrdersService) {}

  @Post()
  async create(@Body('amount', ParseIntPipe) amount: number): Promise<Order> {
    return this.orders.create(amount);
  }

  @Get(':id')
  async find(@Param('id', ParseIntPipe) id: number): Promise<Order> {
    return this.orders.find(id);
  }

  @Post(':id/payment')
  async pay(@Param('id', ParseIntPipe) id: number): Promise<Order> {
    return this.orders.pay(id);
  }

  @Delete(':id')
  @UseInterceptors(LockInterceptor(orderKey))
  async cancel(@Param('id', ParseIntPipe) id: number): Promise<Order> {
    return this.orders.cancel(id);
  }
}
