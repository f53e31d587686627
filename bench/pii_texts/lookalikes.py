"""Lines without personal data that look as if they had some: dates, prices, versions, coordinates, citations."""

from __future__ import annotations

import random
import string

HARD = """
The meeting is on {d4}-0{d}-1{d} at 1{d}:3{d}.
Published 1{d}.0{d}.19{d2}, updated 0{d}/1{d}/20{d2}
20{d2}-0{d}-1{d}T1{d}:2{d}:3{d}.{d3}Z
from 19{d2}-20{d2}
between 199{d} and 2000, 1990-2000
The budget was {d1}.{d3}.{d3} Euro, and {d1} {d3} {d3} in 2019.
$1,{d3},{d3}.{d2}
Umsatz: {d1}.{d3}.{d3},{d2} EUR
Le montant est de {d1} {d3} {d3} €.
population {d1} {d3} {d3} habitants
ISBN 978-3-16-1{d4}-{d}
ISBN 0-306-4{d4}-{d}
ISSN 0{d3}-{d4}
order number {d3}-{d7}-{d7}
Order #{d10}
Bestellnummer {d8}
Rechnung Nr. {d4}-{d6}
invoice {d10}
Numéro de commande : {d9}
Pedido n.º {d8}
заказ № {d8}
52.{d6}, 13.{d6}
40.{d4}° N, 74.{d4}° W
lat 48.{d7}, lon 2.{d7}
version 2.{d2}.{d}.{d3}
Chrome/12{d}.0.{d4}.{d2} Safari/537.36
Windows 10.0.19{d3}.{d4}
upgraded nginx from 1.{d2}.2.1 to 1.{d2}.3.4
pip install foo==1.2.3.{d2}
doi:10.{d4}/s{d5}-019-{d4}-{d}
https://doi.org/10.{d4}/{d8}
arXiv:2106.{d5}
commit {h40}
md5 {h32}
uuid {h8}-{h4}-4{h3}-a{h3}-{h12}
sha256:{h64}
3.14159265{d8} and 2.718281828{d8}
x = {d3} + {d3} * {d4} / {d2} - {d5}
f(3, {d3}) = {d1}.{d2}, p < 0.00{d}
Final score 21-1{d}, 18-21, 21-19
6-4 3-6 7-6 (7-5) 6-{d}
Part no. {d3}-{d4}-{d3}
SKU {d4}-{d4}-{d2}
Serial: {d5}-{d5}-{d5}
ZIP {d5}-{d4}
62704-{d4}
SW1A 1AA, 75008 Paris, 10115 Berlin
42 U.S.C. § {d4}({d}), 18 U.S.C. 1030
section {d}.{d}.{d}.{d}
§ {d}.1{d}.2.{d}
1. e4 e5 2. Nf3 Nc6 3. Bb5 a6 4. Ba4 Nf6
margin: 0 {d2}px 1{d}px {d2}px; width: {d4}px
timestamp 17{d8}
17{d8}{d3}
posts/{d10}{d6}
?id={d10}&ref={d8}
user@host:~/src$ ls
git clone git@host:group/repo.git
git clone git@code.example.com:group/repo.git; rsync me@box.example.org:~/data{d} .
10.1016/j.cell.20{d2}.05.0{d2}
user@localhost, root@db1
@mention and @another_one{d2}
@pytest.mark.parametrize("n", [1, 2, {d4}])
npm i lodash@4.17.{d2} react@18.{d}.0
import x from 'y@2.{d}.{d}'
pkg @scope/name@1.0.{d}
icon@2x.png logo@3x.jpg
look at example.com, dot the i
std::vector<int>::iterator a::b::c{d}
12:34:56 and 00:1{d}:2{d}.{d3}
MAC 00:1a:2b:3c:4d:{h2}
Genesis 1:1-3{d}; Psalm 119:10{d}
ratio 16:9, 4:3, 21:9
127.0.0.1 10.{d}.{d}.{d} 192.168.{d}.1{d} 172.16.0.{d}
192.0.2.{d} 198.51.100.{d2} 2001:db8::{h4} fe80::1 ::1
256.{d3}.1.1 and 1.2.3.4.5.6
OID 1.3.6.1.4.1.{d4}.{d}.{d}
CAS {d4}-{d2}-{d}
PMID {d8}, PMC{d7}
NGC {d4}, HD {d6}
Tracking 1Z999AA10{d9}
4111 1111 1111 1112
1234 5678 9012 3456
DE00 {d4} {d4} {d4} {d4} {d2}
GB00 WEST {d4} {d4} {d4} {d2}
000-{d2}-{d4} 666-{d2}-{d4} 9{d2}-12-3456
account ending in {d4}
Vol. {d2}, No. {d}, pp. {d3}-{d3}
Nature {d3}, {d4}-{d4} (19{d2})
Journal 12 (1998) {d3}-{d3}
1{d} {d2} {d2} {d2} {d2} {d2}
{d3} {d3} {d3} {d3}
{d4} {d4} {d4} {d4} {d4}
{d} {d2} {d3} {d4} {d5}
US Patent 6,{d3},{d3}
EP 1 {d3} {d3} B1
Lottery: 03 17 2{d} 31 4{d} 49
AKIAIOSFODNN7EXAMPLE
sk-xxxxxxxxxxxxxxxxxxxxxxxx
ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
class="sk-fading-circle sk-cube{d}"
ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ{h40}
-----BEGIN PUBLIC KEY-----
Room {d3}, building {d2}, floor {d}
Flight BA{d4} leaves gate {d2} at 06:1{d}
channel 1{d2} at {d3}.{d} MHz
resolution 1920x1080, 3840 x 2160
{d3} km, {d4} kg, {d5} EUR, {d2}%
Telefon war {d4} noch selten.
He made 1{d2} calls in 20{d2}.
Call me maybe. 20{d2} was good.
The phone costs {d3} dollars, the tablet {d3},{d2}.
Phone sales rose to {d1} {d3} {d3} units.
iPhone 12, 13, 14; Galaxy S2{d}
mobile first since 2015; mobile users: {d3},{d3}
PS5-{d4}-AB, model T-{d4}-{d2}
Form 1099-INT, line {d}, box 1{d}
0x{h8}, 0b10{d}, 1e-{d2}
(1) {d3} (2) {d3} (3) {d3}
K{d4} {d3}-{d3} Q{d2}
rgb({d2}, {d2}, {d2}) #{h3}{h3}
100{d2} - 100{d2}
HRB {d6}, USt-IdNr. DE{d9}
EAN 4{d10}{d2}
GTIN: 0{d10}{d3}
Table 3: {d2} {d2} {d3} {d2} {d4} {d3}
chr7:{d8}-{d8}
{d4}/{d2} {d4}/{d2}
2,{d3} 3,{d3} 1,{d3} 9,{d3}
+{d}.{d} percent, +{d2} points
+1 for this, +100 XP
a+{d4}={d5}
""".strip().split("\n")


def negatives(seed: int = 1, each: int = 4) -> list[str]:
    """Lines without personal data, every pattern `each` times with other digits."""
    random_ = random.Random(seed)

    def filled(pattern: str) -> str:
        line = pattern
        for name, pool in (("d", string.digits), ("h", "0123456789abcdef")):
            for size in range(64, 0, -1):
                for key in (f"{{{name}{size}}}", f"{{{name}}}" if size == 1 else ""):
                    while key and key in line:
                        digits = [random_.choice(pool[1:]), *(random_.choice(pool) for _ in range(size - 1))]
                        line = line.replace(key, "".join(digits), 1)
        return line

    return [filled(pattern) for pattern in HARD for _ in range(each)]
