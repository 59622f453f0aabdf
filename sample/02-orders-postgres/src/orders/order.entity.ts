import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm';

export type OrderStatus = 'open' | 'paid' | 'cancelled';

@Entity('orders')
export class Order {
  @PrimaryGeneratedColumn('identity')
  id!: number;

  @Column('int')
  amount!: number;

  @Column('text', { default: 'open' })
  status!: OrderStatus;

  /** The fencing token of the lock that protected the last write of the order. */
  @Column('bigint', { default: 0, select: false })
  fence!: string;
}
