-- Rules are found by the words of their conditions.
-- phase: expand
-- compatible: 0001

-- up

ALTER TABLE convostore.rule ADD COLUMN search_text text, ADD COLUMN words text;

CREATE TRIGGER rule_words BEFORE INSERT ON convostore.rule
    FOR EACH ROW EXECUTE FUNCTION convostore.keep_search_text();

CREATE TRIGGER rule_new_words BEFORE UPDATE OF condition_text, search_text ON convostore.rule
    FOR EACH ROW WHEN (NEW.search_text IS NOT NULL OR NEW.condition_text <> OLD.condition_text)
    EXECUTE FUNCTION convostore.keep_search_text();

-- What a text is found by without `words`: itself in lower case. What is longer than the client leaves as it is was stored by
-- the release before, in any script: so much of it that a tsvector has room.
CREATE FUNCTION convostore.plain_words(content text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN lower(CASE WHEN octet_length(content) <= 250000 THEN content ELSE left(content, 50000) END COLLATE "C");

-- down

DROP TRIGGER rule_new_words ON convostore.rule;

DROP TRIGGER rule_words ON convostore.rule;

DROP FUNCTION convostore.plain_words;

ALTER TABLE convostore.rule DROP COLUMN search_text, DROP COLUMN words;
