/** The running stack that the tests are given: a tenant with a plan, and customers of each test's own. */

import { randomUUID } from "node:crypto";
import { QuotaStack, QuotaStackError, type QuotaStackOptions } from "quotastack";

/** What the plan grants a month. */
export const CREDITS = 50_000;

function given(name: string): string {
  const value = process.env[name];
  if (!value) {
    throw new Error(
      `${name} is not set. These tests need a running stack: \`pytest tests/sdks/test_typescript.py\` starts it.`,
    );
  }
  return value;
}

export const KEY: string = given("QUOTASTACK_KEY");
export const URL_OF_CORE: string = given("QUOTASTACK_URL");
export const URL_OF_EDGE: string = given("QUOTASTACK_EDGE_URL");
export const VARIANT: string = given("QUOTASTACK_TEST_PLAN_VARIANT_ID");
export const LARGER_VARIANT: string = given("QUOTASTACK_TEST_LARGER_VARIANT_ID");

/** A client of the stack. Pauses are short, so that the tests are. */
export function client(options: QuotaStackOptions = {}): QuotaStack {
  return new QuotaStack({ flushInterval: 20, drainInterval: 50, maxDrainInterval: 400, ...options });
}

/** A name that no customer has. */
export function newUser(): string {
  return `user ${randomUUID()}`;
}

/** A customer on the plan. */
export async function subscribed(quotastack: QuotaStack = client()): Promise<string> {
  const user = newUser();
  await quotastack.subscribe(user, { plan_variant_id: VARIANT });
  return user;
}

/** Credits that a customer has spent, everything that was acknowledged included. */
export async function spent(user: string): Promise<number> {
  const { balance } = await client().checkEntitlement(user, "api_calls");
  return Math.round((CREDITS - (balance ?? Number.NaN)) * 1e6) / 1e6;
}

/** Wait until a condition holds, with a bound. */
export async function waitUntil(holds: () => boolean | Promise<boolean>, what: string, within = 20_000): Promise<void> {
  const end = performance.now() + within;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`${what}: not within ${within} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The error that a call has to end with. */
export async function refusal(asked: Promise<unknown>): Promise<QuotaStackError> {
  const error = await asked.then(
    () => new Error("It was not refused."),
    (failed: unknown) => failed,
  );
  if (error instanceof QuotaStackError) return error;
  throw error;
}
