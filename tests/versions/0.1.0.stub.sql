-- The stub rail's own node, as version 0.1.0 left it beside the database: sqlite3's .dump.
BEGIN TRANSACTION;
CREATE TABLE faults (
        id INTEGER PRIMARY KEY AUTOINCREMENT, call TEXT NOT NULL, fault TEXT NOT NULL,
        times INTEGER NOT NULL, delay_ms INTEGER NOT NULL);
CREATE TABLE invoices (
        payment_hash TEXT PRIMARY KEY, node TEXT NOT NULL, key TEXT UNIQUE,
        bolt11 TEXT NOT NULL UNIQUE, preimage TEXT NOT NULL, amount_msat INTEGER NOT NULL,
        expires_at TEXT NOT NULL);
INSERT INTO "invoices" VALUES('ea1d687f5105f7d947a7237c3ade26586655db7fa92af7acca24ed22945ddb2e','ours','2790495f31576ff9be653c9f09671f10:eval','lnbcrt50n1p4shmj5pp5agwksl63qhmaj3a8yd7r4h3xtpn9tkml4y400tx2ynkj99zamvhqsp57mdc9gk0zr0zc6qe98v3kfus9qluh95k5n38dtsmw44z70dvymtsdp6gfhkcarhdaexkw3qv4mxzmr4v96xjmmwyphkvgr2da3zqv3h8ycrgwf4vcxqrrsscqpj9qrsgqy5z2lxxha6znu5zdsvr3r3pr2e2uhtd02x4ypve6005ed7mhw92smku4t88q8rxhnhl7gss8yqjvar26actzj8vj729rdmx2j0wdzeqq6uke92','19e5a04927d762607e1cebe9c7909dc6eab20ce6861fa66b5fd6742f64785695',5000,'2026-11-29T10:20:20+00:00');
INSERT INTO "invoices" VALUES('557f88a028fb0c3218363ec6f0bd23fac7c675e7146cfc5606f6db5b3fd74aab','ours','2790495f31576ff9be653c9f09671f10:work','lnbcrt90n1p4shmj6pp524lc3gpglvxryxpk8mr0p0frltruva08z3k0c4sx7md4k07hf24ssp57769k7ff8q00wdatj6ktfggylaw3u4l6pfdauh5umqhy5xrluyrsdpsgfhkcarhdaexkw3qwahhy6eqdahzq6n0vgsrydeexq6rjdtxxqrrsscqpj9qrsgq757lv2ejap7cy8y3mxyh0dy67a9pzsr0qtgncscm9lq8z9v9243hz00xgerypvd99svtzgztkgtk85r9sp29f26xmexcu5kwamwfd7spk8x8hl','305b32950a1ef6b603a93703e715114a37c03d875ba6a4d34fb1f93679ed2adb',9000,'2026-11-29T10:20:26+00:00');
INSERT INTO "invoices" VALUES('aa4552fd422ee45e5810dbae29e7f6868b73cde4fde072687e4be91ffaeae821','ours','99d2e3da0a7f21a74ef9edda28f2202b:deposit','lnbcrt1u1p4shmjmpp54fz49l2z9mj9ukqsmwhznelks69h8n0ylhs8y6r7f053l7h2aqsssp5h40xk3z94xggznumdpfjtu3fgdt82tqz69gmj436ttwzeh8g2e5qdpugfhkcarhdaexkw3qv3jhqmmnd96zqmmxypek2umnd9hkugpe89jryefnv3ssxqrrsscqpj9qrsgqaf2pv7rj8hxj33gna4cfgn9e6lnpa5qph8em9fqsc8z89vncldx5ar3z2ep2vte4aamkql5ly4zgclyetnvcvu7d42xmwxkvkgkmwtcp8j9ej6','889cb71a4c7616996162354760bbfaf15eafb2f409c6a94e1554aa6f798cb6ca',100000,'2026-11-29T10:20:27+00:00');
INSERT INTO "invoices" VALUES('af59c0efc1aabc13d0205751379a6be7b0d646b1585ada27afa1df1a7bd8c369','ours','2a477bc7d9ab0ad512f66e91e5c83b7f:eval','lnbcrt50n1p4shmj7pp54avupm7p427p85pq2agn0xntu7cdv343tpdd5fa05803577ccd5ssp5ucvfqqalqnq8t32gec6qmmllusvnp8jn7ftzjvq8ehcjj5quny4qdp6gfhkcarhdaexkw3qv4mxzmr4v96xjmmwyphkvgr2da3zqvnpxsmnwcnrxuxqrrsscqpj9qrsgq646ah7r7tptmfnkaf3g6k8ejmq4rmx94ydtq8vupq2nw5pt44l79wdpdx2ggplttp49en6u0arq6tcu5q6vs8tr0rzpfpc7tzsvr0cgq9svfhn','1abbf0afd00a13926ab3b05106ca3c25b5d07321b4575129a4918696c9661546',5000,'2026-11-29T10:20:30+00:00');
CREATE TABLE nodes (name TEXT PRIMARY KEY, private_key TEXT NOT NULL);
INSERT INTO "nodes" VALUES('ours','9aeb3ccd8cae491eb1d5c009565a34faba16142a4f5f9a02e3914836bb6fe54b');
INSERT INTO "nodes" VALUES('buyer','292207472939c52fbdfcfeebaa8f8c1ee0bf39f4ce77fbc8342c4e30454771d3');
CREATE TABLE payments (
        payment_hash TEXT PRIMARY KEY, amount_msat INTEGER NOT NULL, fee_msat INTEGER NOT NULL,
        settled INTEGER NOT NULL, settles_at TEXT);
CREATE TABLE receipts (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, payment_hash TEXT NOT NULL UNIQUE,
        amount_msat INTEGER NOT NULL);
INSERT INTO "receipts" VALUES(1,'ea1d687f5105f7d947a7237c3ade26586655db7fa92af7acca24ed22945ddb2e',5000);
INSERT INTO "receipts" VALUES(2,'557f88a028fb0c3218363ec6f0bd23fac7c675e7146cfc5606f6db5b3fd74aab',9000);
INSERT INTO "receipts" VALUES(3,'aa4552fd422ee45e5810dbae29e7f6868b73cde4fde072687e4be91ffaeae821',100000);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('receipts',3);
COMMIT;
