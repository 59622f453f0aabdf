CREATE TABLE "prices" (
  "supplier" TEXT NOT NULL,
  "article" TEXT NOT NULL,
  "cents" INTEGER NOT NULL,
  CONSTRAINT "prices_pkey" PRIMARY KEY ("supplier", "article")
);

CREATE TABLE "reports" (
  "id" SERIAL NOT NULL,
  "second" TIMESTAMPTZ(3) NOT NULL,
  "instance" TEXT NOT NULL,
  "articles" INTEGER NOT NULL,
  "cents" INTEGER NOT NULL,
  CONSTRAINT "reports_pkey" PRIMARY KEY ("id")
);

-- As `npx nestjs-locked ddl --dialect postgres` prints it.
CREATE TABLE IF NOT EXISTS "locks" (
  key varchar(255) COLLATE "C" NOT NULL PRIMARY KEY,
  owner varchar(64),
  token bigint NOT NULL,
  expires_ms bigint NOT NULL,
  label varchar(255),
  started_ms bigint,
  renewed_ms bigint,
  tick_ms bigint,
  paused boolean NOT NULL DEFAULT false,
  last_label varchar(255),
  last_started_ms bigint,
  last_ended_ms bigint,
  last_outcome varchar(16),
  waiting varchar(16)[]
) WITH (fillfactor = 50);
