-- Entities are found by their names as these look, by any word and by the beginning of one.
-- phase: expand
-- compatible: 0001

-- up

ALTER TABLE convostore.entity ADD COLUMN search_text text, ADD COLUMN words text;

-- What a row is found by comes from the client as `search_text`, and is kept as `words`. A write of the release before,
-- which does not know it, leaves NULL: the row is found by what the server makes of it.
CREATE FUNCTION convostore.keep_search_text() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.words := NEW.search_text;
    NEW.search_text := NULL;
    RETURN NEW;
END
$$;

CREATE TRIGGER entity_words BEFORE INSERT ON convostore.entity
    FOR EACH ROW EXECUTE FUNCTION convostore.keep_search_text();

CREATE TRIGGER entity_new_words BEFORE UPDATE OF name, search_text ON convostore.entity
    FOR EACH ROW WHEN (NEW.search_text IS NOT NULL OR NEW.name <> OLD.name)
    EXECUTE FUNCTION convostore.keep_search_text();

-- What the client makes of a name in ASCII: the name with tabs for spaces, then its words, a space behind each.
CREATE FUNCTION convostore.name_words(name text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN regexp_replace(btrim(lower(name COLLATE "C"), E' \t\n\r\f\x0b'), '\s+', E'\t', 'g') || ' ' || coalesce((
    SELECT string_agg(DISTINCT w.w || ' ', '')
    FROM regexp_split_to_table(lower(name COLLATE "C"), '[\x01-\x2f\x3a-\x60\x7b-\x7f]+') AS w (w)
    WHERE w.w <> ''), '');

-- down

DROP TRIGGER entity_new_words ON convostore.entity;

DROP TRIGGER entity_words ON convostore.entity;

DROP FUNCTION convostore.keep_search_text;

DROP FUNCTION convostore.name_words;

ALTER TABLE convostore.entity DROP COLUMN search_text, DROP COLUMN words;
