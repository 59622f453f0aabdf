import type { MigrationInterface, QueryRunner } from 'typeorm';

export class CreateOrders implements MigrationInterface {
  readonly name = 'CreateOrders1763600000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`CREATE TABLE orders (
      id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      amount int NOT NULL,
      status text NOT NULL DEFAULT 'open',
      fence bigint NOT NULL DEFAULT 0
    )`);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('DROP TABLE orders');
  }
}
