-- Lanes that must be rebuilt before they are trusted again: their stock server did not answer when something was given back. A row stands until
-- the lane is loaded. Programs of before neither read nor write it.
CREATE TABLE distrusted_lanes (lane BIGINT NOT NULL PRIMARY KEY);
