-- A clock that is frozen at a later moment stands where time is, and is on its way there: `advanced_from` is where it is to stand
-- then, and what it is moved on by counts from there.

ALTER TABLE test_clocks DROP CONSTRAINT test_clocks_check1;
ALTER TABLE test_clocks ADD CHECK (frozen_at <= advancing_to AND advanced_from <= advancing_to);
