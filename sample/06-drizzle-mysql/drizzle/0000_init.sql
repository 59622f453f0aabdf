CREATE TABLE `locks` (
	`key` varbinary(255) NOT NULL,
	`owner` varbinary(64),
	`token` bigint NOT NULL,
	`expires_ms` bigint NOT NULL,
	`label` varchar(255),
	`started_ms` bigint,
	`renewed_ms` bigint,
	`tick_ms` bigint,
	`paused` boolean NOT NULL DEFAULT false,
	`last_label` varchar(255),
	`last_started_ms` bigint,
	`last_ended_ms` bigint,
	`last_outcome` varchar(16),
	CONSTRAINT `locks_key` PRIMARY KEY(`key`)
);
--> statement-breakpoint
CREATE TABLE `prices` (
	`supplier` varchar(100) NOT NULL,
	`article` varchar(100) NOT NULL,
	`cents` int NOT NULL,
	CONSTRAINT `prices_supplier_article_pk` PRIMARY KEY(`supplier`,`article`)
);
--> statement-breakpoint
CREATE TABLE `reports` (
	`id` int AUTO_INCREMENT NOT NULL,
	`second` datetime(3) NOT NULL,
	`instance` varchar(255) NOT NULL,
	`articles` int NOT NULL,
	`cents` int NOT NULL,
	CONSTRAINT `reports_id` PRIMARY KEY(`id`)
);
