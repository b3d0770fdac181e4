"""The sandbox's words and word order: every concept in English, German, Russian, Swahili and Chinese.

Each table of words is one string: a row a concept, cells divided by ``|``, forms inside a cell divided by ``/``.
The words are real; the forms stored are just those that `grammar.py` asks for.
"""

# ruff: noqa: E501 (a table's row stays one line)

from __future__ import annotations

from typing import NamedTuple

LANGUAGES = ("en", "de", "ru", "sw", "zh")

# The names are written in Latin script in all five languages, and so are not declined in Russian.
NAMES = {
    "f": ("Anna", "Clara", "Eva", "Lena", "Nina", "Sara", "Amina", "Mei"),
    "m": ("Ben", "David", "Felix", "Ivan", "Omar", "Tom", "Juma", "Wei"),
}
# Known to the encoders, never used in MNLI's training set: they make validation_mismatched another genre.
HELD_OUT_NAMES = {"f": ("Maria", "Olga", "Zawadi"), "m": ("Peter", "Baraka", "Leo")}

# concept | kind | English sg/pl | German gender/sg/pl | Russian gender/nom/acc/gen sg/gen pl
#         | Swahili class/sg/pl | Chinese noun/measure word
_OBJECTS = """
apple      | fruit      | apple/apples         | m/Apfel/Äpfel        | n/яблоко/яблоко/яблока/яблок             | 5/tofaa/matofaa     | 苹果/个
banana     | fruit      | banana/bananas       | f/Banane/Bananen     | m/банан/банан/банана/бананов             | 9/ndizi/ndizi       | 香蕉/根
orange     | fruit      | orange/oranges       | f/Orange/Orangen     | m/апельсин/апельсин/апельсина/апельсинов | 5/chungwa/machungwa | 橙子/个
shirt      | garment    | shirt/shirts         | n/Hemd/Hemden        | f/рубашка/рубашку/рубашки/рубашек        | 5/shati/mashati     | 衬衫/件
dress      | garment    | dress/dresses        | n/Kleid/Kleider      | n/платье/платье/платья/платьев           | 5/gauni/magauni     | 裙子/条
coat       | garment    | coat/coats           | m/Mantel/Mäntel      | n/пальто/пальто/пальто/пальто            | 5/koti/makoti       | 大衣/件
hat        | garment    | hat/hats             | m/Hut/Hüte           | f/шляпа/шляпу/шляпы/шляп                 | 9/kofia/kofia       | 帽子/顶
table      | furniture  | table/tables         | m/Tisch/Tische       | m/стол/стол/стола/столов                 | 9/meza/meza         | 桌子/张
chair      | furniture  | chair/chairs         | m/Stuhl/Stühle       | m/стул/стул/стула/стульев                | 7/kiti/viti         | 椅子/把
bed        | furniture  | bed/beds             | n/Bett/Betten        | f/кровать/кровать/кровати/кроватей       | 7/kitanda/vitanda   | 床/张
car        | vehicle    | car/cars             | n/Auto/Autos         | f/машина/машину/машины/машин             | 5/gari/magari       | 汽车/辆
bicycle    | vehicle    | bicycle/bicycles     | n/Fahrrad/Fahrräder  | m/велосипед/велосипед/велосипеда/велосипедов | 9/baiskeli/baiskeli | 自行车/辆
bus        | vehicle    | bus/buses            | m/Bus/Busse          | m/автобус/автобус/автобуса/автобусов     | 5/basi/mabasi       | 公共汽车/辆
knife      | tool       | knife/knives         | n/Messer/Messer      | m/нож/нож/ножа/ножей                     | 7/kisu/visu         | 刀/把
hammer     | tool       | hammer/hammers       | m/Hammer/Hämmer      | m/молоток/молоток/молотка/молотков       | 9/nyundo/nyundo     | 锤子/把
drum       | instrument | drum/drums           | f/Trommel/Trommeln   | m/барабан/барабан/барабана/барабанов     | 9/ngoma/ngoma       | 鼓/面
guitar     | instrument | guitar/guitars       | f/Gitarre/Gitarren   | f/гитара/гитару/гитары/гитар             | 5/gitaa/magitaa     | 吉他/把
book       | reading    | book/books           | n/Buch/Bücher        | f/книга/книгу/книги/книг                 | 7/kitabu/vitabu     | 书/本
letter     | reading    | letter/letters       | m/Brief/Briefe       | n/письмо/письмо/письма/писем             | 9/barua/barua       | 信/封
newspaper  | reading    | newspaper/newspapers | f/Zeitung/Zeitungen  | f/газета/газету/газеты/газет             | 5/gazeti/magazeti   | 报纸/份
cup        | crockery   | cup/cups             | f/Tasse/Tassen       | f/чашка/чашку/чашки/чашек                | 7/kikombe/vikombe   | 杯子/个
plate      | crockery   | plate/plates         | m/Teller/Teller      | f/тарелка/тарелку/тарелки/тарелок        | 9/sahani/sahani     | 盘子/个
bottle     | crockery   | bottle/bottles       | f/Flasche/Flaschen   | f/бутылка/бутылку/бутылки/бутылок        | 9/chupa/chupa       | 瓶子/个
key        | thing      | key/keys             | m/Schlüssel/Schlüssel | m/ключ/ключ/ключа/ключей                | 11/ufunguo/funguo   | 钥匙/把
ball       | thing      | ball/balls           | m/Ball/Bälle         | m/мяч/мяч/мяча/мячей                     | 3/mpira/mipira      | 球/个
lamp       | thing      | lamp/lamps           | f/Lampe/Lampen       | f/лампа/лампу/лампы/ламп                 | 9/taa/taa           | 灯/盏
phone      | thing      | phone/phones         | n/Telefon/Telefone   | m/телефон/телефон/телефона/телефонов     | 9/simu/simu         | 电话/部
flower     | thing      | flower/flowers       | f/Blume/Blumen       | m/цветок/цветок/цветка/цветков           | 5/ua/maua           | 花/朵
stone      | thing      | stone/stones         | m/Stein/Steine       | m/камень/камень/камня/камней             | 5/jiwe/mawe         | 石头/块
fruit      | kind       | fruit/fruits         | f/Frucht/Früchte     | m/фрукт/фрукт/фрукта/фруктов             | 5/tunda/matunda     | 水果/个
garment    | kind       | garment/garments     | n/Kleidungsstück/Kleidungsstücke | m/предмет одежды/предмет одежды/предмета одежды/предметов одежды | 5/vazi/mavazi | 服装/件
furniture  | kind       | piece of furniture/pieces of furniture | n/Möbelstück/Möbelstücke | m/предмет мебели/предмет мебели/предмета мебели/предметов мебели | 9/samani/samani | 家具/件
vehicle    | kind       | vehicle/vehicles     | n/Fahrzeug/Fahrzeuge | n/транспортное средство/транспортное средство/транспортного средства/транспортных средств | 7/chombo cha usafiri/vyombo vya usafiri | 车/辆
tool       | kind       | tool/tools           | n/Werkzeug/Werkzeuge | m/инструмент/инструмент/инструмента/инструментов | 7/kifaa/vifaa | 工具/件
instrument | kind       | musical instrument/musical instruments | n/Musikinstrument/Musikinstrumente | m/музыкальный инструмент/музыкальный инструмент/музыкального инструмента/музыкальных инструментов | 9/ala ya muziki/ala za muziki | 乐器/件
"""

# concept | kind | English | German gender/nom/acc | Russian gender/nom/acc | Swahili | Chinese noun/measure word
# Animals and professions; in Swahili all of them agree as class 1.
_BEINGS = """
dog       | animal | dog       | m/Hund/Hund         | f/собака/собаку       | mbwa       | 狗/只
cat       | animal | cat       | f/Katze/Katze       | f/кошка/кошку         | paka       | 猫/只
horse     | animal | horse     | n/Pferd/Pferd       | f/лошадь/лошадь       | farasi     | 马/匹
cow       | animal | cow       | f/Kuh/Kuh           | f/корова/корову       | ng'ombe    | 牛/头
bird      | animal | bird      | m/Vogel/Vogel       | f/птица/птицу         | ndege      | 鸟/只
pigeon    | bird   | pigeon    | f/Taube/Taube       | m/голубь/голубя       | njiwa      | 鸽子/只
hen       | bird   | hen       | n/Huhn/Huhn         | f/курица/курицу       | kuku       | 鸡/只
teacher   | person | teacher   | m/Lehrer/Lehrer     | m/учитель/учителя     | mwalimu    | 老师/位
doctor    | person | doctor    | m/Arzt/Arzt         | m/врач/врача          | daktari    | 医生/位
farmer    | person | farmer    | m/Bauer/Bauern      | m/фермер/фермера      | mkulima    | 农民/位
cook      | person | cook      | m/Koch/Koch         | m/повар/повара        | mpishi     | 厨师/位
singer    | person | singer    | m/Sänger/Sänger     | m/певец/певца         | mwimbaji   | 歌手/位
judge     | person | judge     | m/Richter/Richter   | m/судья/судью         | hakimu     | 法官/位
animal    | kind   | animal    | n/Tier/Tier         | m/зверь/зверя         | mnyama     | 动物/只
person    | kind   | person    | f/Person/Person     | m/человек/человека    | mtu        | 人/个
"""

# concept | kind | English | German stem | Russian stem/declension | Swahili stem, or "of" for the connective | Chinese
_ADJECTIVES = """
red       | colour | red       | rot     | красн/hard      | ekundu     | 红色
blue      | colour | blue      | blau    | син/soft        | of bluu    | 蓝色
green     | colour | green     | grün    | зелён/hard      | of kijani  | 绿色
yellow    | colour | yellow    | gelb    | жёлт/hard       | of njano   | 黄色
white     | colour | white     | weiß    | бел/hard        | eupe       | 白色
black     | colour | black     | schwarz | чёрн/hard       | eusi       | 黑色
brown     | colour | brown     | braun   | коричнев/hard   | of kahawia | 棕色
big       | size   | big       | groß    | больш/stressed  | kubwa      | 大
small     | size   | small     | klein   | маленьк/velar   | dogo       | 小
new       | age    | new       | neu     | нов/hard        | pya        | 新
old       | age    | old       | alt     | стар/hard       | kuukuu     | 旧
expensive | price  | expensive | teur    | дорог/stressed  | =ghali     | 贵
cheap     | price  | cheap     | billig  | дешёв/hard      | =rahisi    | 便宜
"""

# number | English | German | Russian (masculine and neuter/feminine) | Swahili stem, or "=" invariant | Chinese
_NUMERALS = """
2 | two   | zwei   | два/две         | wili  | 两
3 | three | drei   | три/три         | tatu  | 三
4 | four  | vier   | четыре/четыре   | nne   | 四
5 | five  | fünf   | пять/пять       | tano  | 五
6 | six   | sechs  | шесть/шесть     | =sita | 六
7 | seven | sieben | семь/семь       | =saba | 七
8 | eight | acht   | восемь/восемь   | nane  | 八
9 | nine  | neun   | девять/девять   | =tisa | 九
"""

# concept | kind | English | German | Russian | Swahili | Chinese: whole phrases, for each language marks place its own way
_PLACES = """
garden   | place | in the garden   | im Garten          | в саду       | bustanini   | 在花园里
market   | place | at the market   | auf dem Markt      | на рынке     | sokoni      | 在市场上
school   | place | at the school   | in der Schule      | в школе      | shuleni     | 在学校里
city     | place | in the city     | in der Stadt       | в городе     | mjini       | 在城里
village  | place | in the village  | im Dorf            | в деревне    | kijijini    | 在村里
forest   | place | in the forest   | im Wald            | в лесу       | msituni     | 在森林里
river    | place | by the river    | am Fluss           | у реки       | mtoni       | 在河边
hospital | place | in the hospital | im Krankenhaus     | в больнице   | hospitalini | 在医院里
shop     | place | in the shop     | im Laden           | в магазине   | dukani      | 在商店里
station  | place | at the station  | am Bahnhof         | на вокзале   | stesheni    | 在车站
church   | place | in the church   | in der Kirche      | в церкви     | kanisani    | 在教堂里
library  | place | in the library  | in der Bibliothek  | в библиотеке | maktabani   | 在图书馆里
hotel    | place | in the hotel    | im Hotel           | в гостинице  | hotelini    | 在酒店里
office   | place | in the office   | im Büro            | в офисе      | ofisini     | 在办公室里
kitchen  | house | in the kitchen  | in der Küche       | на кухне     | jikoni      | 在厨房里
bathroom | house | in the bathroom | im Badezimmer      | в ванной     | bafuni      | 在浴室里
house    | kind  | in the house    | im Haus            | в доме       | nyumbani    | 在房子里
"""

_TIMES = """
monday    | weekday | on Monday    | am Montag      | в понедельник  | Jumatatu             | 星期一
tuesday   | weekday | on Tuesday   | am Dienstag    | во вторник     | Jumanne              | 星期二
wednesday | weekday | on Wednesday | am Mittwoch    | в среду        | Jumatano             | 星期三
thursday  | weekday | on Thursday  | am Donnerstag  | в четверг      | Alhamisi             | 星期四
friday    | weekday | on Friday    | am Freitag     | в пятницу      | Ijumaa               | 星期五
saturday  | weekday | on Saturday  | am Samstag     | в субботу      | Jumamosi             | 星期六
sunday    | weekday | on Sunday    | am Sonntag     | в воскресенье  | Jumapili             | 星期天
morning   | daytime | in the morning | am Morgen    | утром          | asubuhi              | 早上
noon      | daytime | at noon      | am Mittag      | в полдень      | mchana               | 中午
evening   | daytime | in the evening | am Abend     | вечером        | jioni                | 晚上
night     | daytime | at night     | in der Nacht   | ночью          | usiku                | 夜里
spring    | season  | in spring    | im Frühling    | весной         | wakati wa masika     | 春天
summer    | season  | in summer    | im Sommer      | летом          | wakati wa kiangazi   | 夏天
autumn    | season  | in autumn    | im Herbst      | осенью         | wakati wa vuli       | 秋天
winter    | season  | in winter    | im Winter      | зимой          | wakati wa baridi     | 冬天
"""
YEAR_PHRASE = {"en": "in {}", "de": "im Jahr {}", "ru": "в {} году", "sw": "mwaka {}", "zh": "{}年"}
YEARS = range(2000, 2020)

# concept | frame | kinds of object | English past/base | German past | Russian past m/f | Swahili past/negative | Chinese stem
# Frames: thing (buys a thing), person (visits a person), give (gives a person a thing), source (gets a thing from a
# person), alone (sleeps).  An object kind "*" stands for every inanimate one.
_VERBS = """
buy    | thing  | * animal bird          | bought/buy       | kaufte      | купил/купила         | alinunua/hakununua         | 买
sell   | thing  | * animal bird          | sold/sell        | verkaufte   | продал/продала       | aliuza/hakuuza             | 卖
see    | thing  | * animal bird          | saw/see          | sah         | увидел/увидела       | aliona/hakuona             | 看见
find   | thing  | * animal bird          | found/find       | fand        | нашёл/нашла          | alikuta/hakukuta           | 找到
lose   | thing  | * animal bird          | lost/lose        | verlor      | потерял/потеряла     | alipoteza/hakupoteza       | 丢
get    | thing  | * animal bird          | got/get          | bekam       | получил/получила     | alipata/hakupata           | 得到
take   | thing  | *                      | took/take        | nahm        | взял/взяла           | alichukua/hakuchukua       | 拿
steal  | thing  | * animal bird          | stole/steal      | stahl       | украл/украла         | aliiba/hakuiba             | 偷
eat    | thing  | fruit                  | ate/eat          | aß          | съел/съела           | alikula/hakula             | 吃
read   | thing  | reading                | read/read        | las         | прочитал/прочитала   | alisoma/hakusoma           | 读
wear   | thing  | garment                | wore/wear        | trug        | надел/надела         | alivaa/hakuvaa             | 穿
wash   | thing  | garment crockery vehicle | washed/wash    | wusch       | помыл/помыла         | aliosha/hakuosha           | 洗
repair | thing  | furniture vehicle instrument | repaired/repair | reparierte | починил/починила | alitengeneza/hakutengeneza | 修理
break  | thing  | crockery instrument furniture | broke/break | zerbrach   | сломал/сломала       | alivunja/hakuvunja         | 打破
meet   | person |                        | met/meet         | traf        | встретил/встретила   | alimkuta/hakumkuta         | 遇见
visit  | person |                        | visited/visit    | besuchte    | навестил/навестила   | alimtembelea/hakumtembelea | 拜访
give   | give   | *                      | gave/give        | gab         | дал/дала             | alimpa/hakumpa             | 给
vend   | give   | * animal bird          | sold/sell        | verkaufte   | продал/продала       | alimuuzia/hakumuuzia       | 卖给
receive | source | *                     | received/receive | bekam       | получил/получила     | alipokea/hakupokea         | 得到
purchase | source | * animal bird        | bought/buy       | kaufte      | купил/купила         | alinunua/hakununua         | 买
sleep  | alone  |                        | slept/sleep      | schlief     | спал/спала           | alilala/hakulala           | 睡觉
sing   | alone  |                        | sang/sing        | sang        | пел/пела             | aliimba/hakuimba           | 唱歌
dance  | alone  |                        | danced/dance     | tanzte      | танцевал/танцевала   | alicheza dansi/hakucheza dansi | 跳舞
work   | alone  |                        | worked/work      | arbeitete   | работал/работала     | alifanya kazi/hakufanya kazi | 工作
swim   | alone  |                        | swam/swim        | schwamm     | плавал/плавала       | aliogelea/hakuogelea       | 游泳
"""

# concept | frame | | English complement of "was" | German verb/complement/its negation | Russian m/f | Swahili | Chinese/its negation
_STATES = """
be      | place |  |         | war//nicht                     | был/была               | alikuwa/hakuwa                     | /不
happy   | state |  | happy   | war/froh/nicht froh            | был рад/была рада      | alikuwa na furaha/hakuwa na furaha | 很高兴/不高兴
sad     | state |  | sad     | war/traurig/nicht traurig      | грустил/грустила       | alikuwa na huzuni/hakuwa na huzuni | 很难过/不难过
angry   | state |  | angry   | war/wütend/nicht wütend        | злился/злилась         | alikuwa na hasira/hakuwa na hasira | 很生气/不生气
calm    | state |  | calm    | war/ruhig/nicht ruhig          | был спокоен/была спокойна | alikuwa mtulivu/hakuwa mtulivu  | 很平静/不平静
hungry  | state |  | hungry  | war/hungrig/nicht hungrig      | был голоден/была голодна | alikuwa na njaa/hakuwa na njaa   | 很饿/不饿
full    | state |  | full    | war/satt/nicht satt            | был сыт/была сыта      | alikuwa ameshiba/hakuwa ameshiba   | 很饱/不饱
sick    | state |  | sick    | war/krank/nicht krank          | болел/болела           | alikuwa mgonjwa/hakuwa mgonjwa     | 病了/没有生病
healthy | state |  | healthy | war/gesund/nicht gesund        | был здоров/была здорова | alikuwa na afya/hakuwa na afya    | 很健康/不健康
"""

# concept | English | German verb/complement | Russian | Swahili | Chinese
_WEATHER = """
rain  | rained   | regnete/    | шёл дождь      | mvua ilinyesha    | 下雨了
snow  | snowed   | schneite/   | шёл снег       | theluji ilianguka | 下雪了
storm | stormed  | stürmte/    | бушевала буря  | dhoruba ilivuma   | 刮大风了
hot   | was hot  | war/heiß    | было жарко     | kulikuwa na joto  | 天气很热
cold  | was cold | war/kalt    | было холодно   | kulikuwa na baridi | 天气很冷
"""


class Entry(NamedTuple):
    """One concept: its kind, and for every language the tuple of its forms, in the order its table states."""

    kind: str
    forms: dict[str, tuple[str, ...]]
    objects: tuple[str, ...] = ()


def _table(rows: str, kinds: bool = True, objects: bool = False) -> dict[str, Entry]:
    """Parse one of the tables above: a column of kinds and one of object kinds may precede the languages."""
    entries = {}
    for row in rows.strip().splitlines():
        cells = [cell.strip() for cell in row.split("|")]
        concept, words = cells[0], cells[-len(LANGUAGES) :]
        assert len(cells) == 1 + kinds + objects + len(LANGUAGES), f"the lexicon's row {row!r} has a wrong width"
        forms = {language: tuple(cell.split("/")) for language, cell in zip(LANGUAGES, words, strict=True)}
        entries[concept] = Entry(cells[1] if kinds else "", forms, tuple(cells[2].split()) if objects else ())
    return entries


OBJECTS = _table(_OBJECTS)
BEINGS = _table(_BEINGS)
ADJECTIVES = _table(_ADJECTIVES)
NUMERALS = {int(number): entry for number, entry in _table(_NUMERALS, kinds=False).items()}
PLACES = _table(_PLACES)
TIMES = _table(_TIMES)
VERBS = _table(_VERBS, objects=True)
STATES = _table(_STATES, objects=True)
WEATHER = _table(_WEATHER, kinds=False)

# What follows from the words: a bought thing was also got; nobody is happy and sad at once.
GENERAL_VERB = {"buy": "get", "steal": "take"}
_OPPOSITES = (
    "buy sell, find lose, happy sad, angry calm, hungry full, sick healthy, big small, new old, expensive cheap"
)
OPPOSITES = {
    first: second for pair in _OPPOSITES.split(", ") for first, second in (pair.split(), reversed(pair.split()))
}
# Two ways to tell one transfer: who gives, and who is given.
CONVERSES = {"give": "receive", "vend": "purchase"}

# Endings by gender and case; Russian: nom m, nom f, nom n, acc f, gen m (also acc of animate m), gen pl.
GERMAN_ACCUSATIVE = {"m": ("einen", "keinen", "en"), "f": ("eine", "keine", "e"), "n": ("ein", "kein", "es")}
GERMAN_DEFINITE = {"m": "der", "f": "die", "n": "das"}
GERMAN_RELATIVE_ACCUSATIVE = {"m": "den", "f": "die", "n": "das"}
RUSSIAN_ENDINGS = {
    "hard": ("ый", "ая", "ое", "ую", "ого", "ых"),
    "soft": ("ий", "яя", "ее", "юю", "его", "их"),
    "velar": ("ий", "ая", "ое", "ую", "ого", "их"),
    "stressed": ("ой", "ая", "ое", "ую", "ого", "их"),
}
RUSSIAN_WHICH_ACCUSATIVE = {"m": "который", "f": "которую", "n": "которое", "animate m": "которого"}

# Swahili agreement by noun class: prefix before a vowel stem (-ekundu), before a consonant stem (-kubwa), before a
# numeral, the connective, "that", "was".
SWAHILI_PLURAL_CLASS = {1: 2, 3: 4, 5: 6, 7: 8, 9: 10, 11: 10}
SWAHILI_CONCORDS = {
    1: ("mw", "m", "m", "wa", "ambaye", "alikuwa"),
    2: ("w", "wa", "wa", "wa", "ambao", "walikuwa"),
    3: ("mw", "m", "m", "wa", "ambao", "ulikuwa"),
    4: ("my", "mi", "mi", "ya", "ambayo", "ilikuwa"),
    5: ("j", "", "", "la", "ambalo", "lilikuwa"),
    6: ("m", "ma", "ma", "ya", "ambayo", "yalikuwa"),
    7: ("ch", "ki", "ki", "cha", "ambacho", "kilikuwa"),
    8: ("vy", "vi", "vi", "vya", "ambavyo", "vilikuwa"),
    9: ("ny", "", "", "ya", "ambayo", "ilikuwa"),
    10: ("ny", "", "", "za", "ambazo", "zilikuwa"),
    11: ("mw", "m", "m", "wa", "ambao", "ulikuwa"),
}
# Where the rule prefix + stem fails.
SWAHILI_IRREGULAR = {
    ("dogo", 9): "ndogo", ("dogo", 10): "ndogo", ("pya", 9): "mpya", ("pya", 10): "mpya", ("pya", 5): "jipya",
    ("wili", 10): "mbili",
}  # fmt: skip

# The order of a sentence's parts; "source" is whom a thing is got from, "not" and "complement" belong to the verb.
STATEMENT_ORDER = {
    "en": "agent verb person thing source complement place time",
    "de": "agent verb person source time not place thing complement",
    "ru": "agent verb person source thing place time",
    "sw": "agent verb person thing source place time",
    "zh": "agent time not place source verb person thing complement",
}
# Swahili and Chinese ask in place: their question is the statement with the asked slot replaced.
QUESTION_ORDER = {
    "en": "wh auxiliary agent base person thing source complement place time",
    "de": "wh verb agent person source time place thing complement",
    "ru": "wh agent verb person source thing place time",
}
QUESTION_WORDS = {
    "en": {"agent": "who", "person": "who", "thing": "what", "place": "where", "time": "when", "number": "how many"},
    "de": {"agent": "wer", "person": "wen", "thing": "was", "place": "wo", "time": "wann", "number": "wie viele"},
    "ru": {"agent": "кто", "person": "кого", "thing": "что", "place": "где", "time": "когда", "number": "сколько"},
    "sw": {"agent": "nani", "person": "nani", "thing": "nini", "place": "wapi", "time": "lini", "number": "ngapi"},
    "zh": {"agent": "谁", "person": "谁", "thing": "什么", "place": "在哪里", "time": "什么时候", "number": "几"},
}
COLOUR_QUESTION = {
    "en": "What colour was the {noun} that {agent} {verb} {person} {source} {place} {time}?",
    "de": "Welche Farbe hatte {the} {noun}, {which} {agent} {person} {source} {time} {place} {verb}?",
    "ru": "Какого цвета {noun}, {which} {agent} {verb} {person} {source} {place} {time}?",
    "sw": "{noun} {which} {agent} {verb} {person} {source} {place} {time} {was} {of} rangi gani?",
    "zh": "{agent}{time}{place}{source}{verb}{person}的{noun}是什么颜色的？",
}
SOURCE = {"en": "from {}", "de": "von {}", "ru": "у {}", "sw": "kutoka kwa {}", "zh": "从{}那里"}
WEATHER_AGENT = {"en": "it", "de": "es"}
# What a second speaker answers where the fact follows, may be, or cannot be.
REPLIES = {
    "en": ("Yes", "Maybe", "No"),
    "de": ("Ja", "Vielleicht", "Nein"),
    "ru": ("Да", "Возможно", "Нет"),
    "sw": ("Ndiyo", "Labda", "Hapana"),
    "zh": ("对", "也许", "不对"),
}
COMMA = {"en": ", ", "de": ", ", "ru": ", ", "sw": ", ", "zh": "，"}
CONNECTIVE = {"en": ", and ", "de": " und ", "ru": ", а ", "sw": ", na ", "zh": "，而"}
END = {"en": ".", "de": ".", "ru": ".", "sw": ".", "zh": "。"}
QUESTION_END = {"en": "?", "de": "?", "ru": "?", "sw": "?", "zh": "？"}
GAP = {"en": " ", "de": " ", "ru": " ", "sw": " ", "zh": ""}
