import { ConflictException, Injectable, NotFoundException } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { LockContext, Locked, type Lock } from 'nestjs-locked';
import { LessThanOrEqual, Repository } from 'typeorm';
import { Order, type OrderStatus } from './order.entity.js';
import { Payments } from './payments.service.js';

@Injectable()
export class OrdersService {
  constructor(
    @InjectRepository(Order) private readonly orders: Repository<Order>,
    private readonly payments: Payments,
  ) {}

  async create(amount: number): Promise<Order> {
    return this.find((await this.orders.save({ amount })).id);
  }

  async find(id: number): Promise<Order> {
    const order = await this.orders.findOneBy({ id });
    if (!order) throw new NotFoundException();
    return order;
  }

  /**
   * Pays an order. Only one call at a time runs for each order, on all instances. A second
   * call finds the order paid, and does not charge the customer again.
   */
  @Locked({ key: (id: number) => `order:${id}`, wait: '2s' })
  async pay(id: number): Promise<Order> {
    const lock = currentLock();
    const order = await this.findOpen(id, 'paid');
    if (order.status === 'paid') return order;
    await this.payments.charge(order, lock.signal);
    return this.write(id, 'paid', lock);
  }

  /** Cancels an order. The route that calls this method has taken the lock. */
  async cancel(id: number): Promise<Order> {
    const lock = currentLock();
    await this.findOpen(id, 'cancelled');
    return this.write(id, 'cancelled', lock);
  }

  private async findOpen(id: number, orAlready: OrderStatus): Promise<Order> {
    const order = await this.find(id);
    if (order.status !== 'open' && order.status !== orAlready)
      throw new ConflictException(`The order is ${order.status}.`);
    return order;
  }

  /**
   * Writes the order, unless its last write had a newer fencing token: a holder that was
   * frozen cannot know that it has lost the lock.
   */
  private async write(id: number, status: OrderStatus, { fencingToken }: Lock): Promise<Order> {
    const notNewer = LessThanOrEqual(String(fencingToken));
    const { affected } = await this.orders.update(
      { id, fence: notNewer },
      { status, fence: String(fencingToken) },
    );
    if (affected === 0) throw new ConflictException('Another request has changed the order meanwhile.');
    return this.find(id);
  }
}

function currentLock(): Lock {
  const lock = LockContext.current();
  if (!lock) throw new Error('An order is only changed under its lock.');
  return lock;
}
